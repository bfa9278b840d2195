/// The disk tier: cache files of one store, within a size limit and above a free-space floor.
import Glibc
import Logging
import Metrics
import Posix
import Synchronization
import SystemPackage

final class DiskTier: Sendable {
  let folder: CacheFolder
  let limit: UInt64
  private let floor: UInt64
  private let index = Lock(CacheIndex())
  private let generator = Lock(SystemRandomNumberGenerator())
  private let metrics: CacheMetrics
  private let log: Logger
  private let isStopping = Atomic(false)
  private let saidFull = Atomic(false)
  private let census: Lock<Thread?> = Lock(nil)
  private let pressureHandler = Lock<(@Sendable () -> Void)?>(nil)

  /// Files a writer may still make on a file system that counts inodes.
  private static let inodeFloor: UInt64 = 1024

  init(
    store: String, configuration: EngineConfiguration, root: String, metrics: CacheMetrics,
    log: Logger
  ) throws(EngineError) {
    folder = try CacheFolder(root: root, store: store, log: log)
    limit = configuration.cacheLimit
    floor = configuration.freeSpaceFloor
    self.metrics = metrics
    self.log = log
    // What is there from before is counted in the background: mounting does not wait for it.
    census.withLock { $0 = Thread(named: "census") { [self] in countFiles() } }
  }

  /// Trusts what is on disk now at the next start. Every file has been written by then.
  func shutdown() {
    isStopping.store(true, ordering: .relaxed)
    let thread = census.withLock { $0 }
    thread?.join()
    folder.release()
  }

  func onPressure(_ handler: @escaping @Sendable () -> Void) {
    pressureHandler.withLock { $0 = handler }
  }

  var usedBytes: UInt64 { index.withLock { $0.usedBytes } }
  var fileCount: Int { index.withLock { $0.count } }

  // MARK: Opens

  /// Takes note that a version is open, so that its file stays. False: do without the disk.
  func open(_ id: FileID) -> Bool { index.withLock { $0.open(id, now: Self.seconds) } }

  /// The size that an opened file turned out to have.
  func account(_ id: FileID, bytes: UInt64) {
    index.withLock { $0.set(id, bytes: bytes) }
    publish()
  }

  func close(_ id: FileID) {
    index.withLock { $0.close(id, now: Self.seconds) }
    publish()
  }

  // MARK: Space

  /// Makes room for `bytes` more of a file that is open, evicting others if it must. False: there is
  /// no room to be made; what was read stays in memory alone.
  func reserve(_ bytes: UInt64, for id: FileID) -> Bool {
    // Each round frees what was missing when it began; a few settle it against other users of the
    // disk, and then it is not ours to win.
    var hasAsked = false
    for _ in 0..<4 {
      let missing = shortage(of: bytes)
      if missing == 0 {
        index.withLock { $0.grow(id, by: bytes) }
        publish()
        return true
      }
      if evict(freeing: missing) { continue }
      // What is held open for later use goes before new bytes stay out.
      if hasAsked { break }
      hasAsked = true
      pressureHandler.withLock { $0 }?()
    }
    if !saidFull.exchange(true, ordering: .relaxed) {
      log.notice(
        "the disk cache \(folder.path) is full with files in use; reads go on without it")
    }
    return false
  }

  private func shortage(of bytes: UInt64) -> UInt64 {
    let used = index.withLock { $0.usedBytes }
    let overLimit = used + bytes > limit ? used + bytes - limit : 0
    var status = statvfs()
    guard statvfs(folder.path, &status) == 0 else { return overLimit }
    let free = UInt64(status.f_bavail) * UInt64(status.f_frsize)
    let underFloor = bytes + floor > free ? bytes + floor - free : 0
    let lacksInodes = status.f_files > 0 && status.f_favail < Self.inodeFloor
    return max(overLimit, underFloor, lacksInodes ? 1 : 0)
  }

  /// Unlinks files that nobody has open. False if there was none to go.
  private func evict(freeing bytes: UInt64) -> Bool {
    let victims = index.withLock { index in
      generator.withLock { index.chooseVictims(freeing: bytes, using: &$0) }
    }
    for victim in victims {
      CacheFile.remove(victim.id, in: folder)
      index.withLock { $0.forget(victim.id) }
      metrics.evictedFiles.add()
      metrics.evictedBytes.add(victim.bytes)
    }
    publish()
    return !victims.isEmpty
  }

  private func publish() {
    let (bytes, files) = index.withLock { ($0.usedBytes, $0.count) }
    metrics.diskBytes.set(Int64(clamping: bytes))
    metrics.diskFiles.set(Int64(files))
  }

  // MARK: Census

  /// Finds the files of earlier mounts, so that they count and can be evicted.
  private func countFiles() {
    for sub in DirectoryReader.names(in: folder.path + "/objects") {
      let path = "\(folder.path)/objects/\(sub)"
      for name in DirectoryReader.names(in: path) {
        if isStopping.load(ordering: .relaxed) { return }
        guard let id = FileID(name: name) else {
          removeIfOrphan("\(path)/\(name)")
          continue
        }
        var status = stat()
        guard stat("\(path)/\(name)", &status) == 0 else { continue }
        var sidecar = stat()
        let extra = stat("\(path)/\(name).pieces", &sidecar) == 0 ? sidecar.st_blocks : 0
        index.withLock {
          $0.discover(
            id, bytes: UInt64(status.st_blocks + extra) * 512,
            lastUse: Int64(max(status.st_atim.tv_sec, status.st_mtim.tv_sec)))
        }
      }
    }
    publish()
  }

  /// A sidecar whose mirror is gone.
  private func removeIfOrphan(_ path: String) {
    guard path.hasSuffix(".pieces") else { return }
    if access(String(path.dropLast(".pieces".count)), F_OK) != 0 { unlink(path) }
  }

  /// Comparable with file times across mounts.
  private static var seconds: Int64 { Int64(time(nil)) }
}
