/// The disk tier: cache files of one store, within a size limit and above a free-space floor.
import Glibc
import Logging
import Metrics
import ObjectStore
import Posix
import Synchronization
import SystemPackage

final class DiskTier: Sendable {
  let folder: CacheFolder
  let limit: UInt64
  private let floor: UInt64
  private let index = Lock(CacheIndex())
  /// Not the system's: that is a system call for each number.
  private let generator = Lock(SeededGenerator(seed: .random(in: 0 ... .max)))
  private let policy: EvictionPolicy
  private let nextUse = Lock<Callback<UInt64, Int?>?>(nil)
  private let metrics: CacheMetrics
  private let log: Logger
  private let isStopping = Atomic(false)
  private let saidFull = Atomic(false)
  private let census: Lock<Thread?> = Lock(nil)
  private let pinFile = Lock(())
  private let pressureHandler = Lock<Callback<Void, Void>?>(nil)

  /// Of a file, by its hash: see `CacheIndex.Terms`.
  typealias NextUse = @Sendable (UInt64) -> Int?

  /// Files a writer may still make on a file system that counts inodes.
  private static let inodeFloor: UInt64 = 1024

  init(
    store: String, configuration: EngineConfiguration, root: String, metrics: CacheMetrics,
    log: Logger
  ) throws(EngineError) {
    folder = try CacheFolder(root: root, store: store, log: log)
    limit = configuration.cacheLimit
    floor = configuration.freeSpaceFloor
    policy = configuration.eviction
    self.metrics = metrics
    self.log = log
    for pin in PinList.read(folder.path + "/pins") {
      _ = index.withLock { $0.pin(pin.id, ofKey: pin.key, true) }
    }
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
    pressureHandler.withLock { $0 = Callback(handler) }
  }

  var usedBytes: UInt64 { index.withLock { $0.usedBytes } }
  var fileCount: Int { index.withLock { $0.count } }

  // MARK: Opens

  /// Takes note that a version is open, so that its file stays. False: do without the disk.
  func open(_ id: FileID) -> Bool { index.withLock { $0.open(id) } }

  /// A reader has opened it.
  func used(_ id: FileID) { index.withLock { $0.used(id) } }

  func onNextUse(_ handler: @escaping NextUse) { nextUse.withLock { $0 = Callback(handler) } }

  /// The size that an opened file turned out to have.
  func account(_ id: FileID, bytes: UInt64) {
    index.withLock { $0.set(id, bytes: bytes) }
    publish()
  }

  func close(_ id: FileID) {
    index.withLock { $0.close(id) }
    publish()
  }

  /// Bytes of it on disk; 0: none of it.
  func bytes(of id: FileID) -> UInt64 { index.withLock { $0.bytes(of: id) ?? 0 } }

  /// What may be written without anything having to go, bytes.
  var room: UInt64 {
    let used = index.withLock { $0.usedBytes }
    let free = freeSpace ?? .max
    return min(limit > used ? limit - used : 0, free > floor ? free - floor : 0)
  }

  // MARK: Pins

  /// Takes effect on what is there and on what comes. False: it was so before.
  func pin(_ id: FileID, of key: ObjectKey, _ isPinned: Bool) -> Bool {
    let hash = PinList.hash(of: key)
    return index.withLock { $0.pin(id, ofKey: hash, isPinned) }
  }

  func unpinAll() { index.withLock { $0.unpinAll() } }
  func isPinned(_ id: FileID) -> Bool { index.withLock { $0.isPinned(id) } }

  /// Keeps the pins for the next mount. One after the other: the last to write has the newest.
  func savePins() {
    pinFile.withLock { _ in
      let pins = index.withLock { $0.pinned }
      do throws(Errno) { try PinList.write(pins, to: folder.path + "/pins") } catch {
        log.warning("\(folder.path)/pins: \(error); pins last as long as this mount")
      }
    }
  }

  /// Has what is held open for later use let go of.
  func letGo() { pressureHandler.withLock { $0 }?(()) }

  /// See `ReadEngine.beginLoad`.
  func tick() -> Int64 { index.withLock { $0.tick() } }

  /// Makes room for `bytes` by evicting what was last used before a tick. False: there is not so much.
  func makeRoom(_ bytes: UInt64, evictingUsedBefore tick: Int64) -> Bool {
    var terms = CacheIndex.Terms(policy: .lru, deadAfter: 0)
    terms.usedBefore = tick
    var hasAsked = false
    for _ in 0..<4 {
      let missing = shortage(of: bytes)
      if missing == 0 { return true }
      switch evict(freeing: missing, terms) {
      case .victims: continue
      case .keeps: return false
      case .inUse: break
      }
      if hasAsked { return false }
      hasAsked = true
      letGo()
    }
    return shortage(of: bytes) == 0
  }

  /// Unlinks a file that nobody has open. Returns the bytes that are free then, nil: it is in use, pinned or
  /// not there.
  func remove(_ id: FileID) -> UInt64? {
    guard let victim = index.withLock({ $0.takeOut(id) }) else { return nil }
    unlink([victim])
    return victim.bytes
  }

  // MARK: Space

  /// Makes room for `bytes` more of a file that is open, evicting others if it must. False: there is
  /// no room to be made; what was read stays in memory alone.
  func reserve(_ bytes: UInt64, for id: FileID, deadAfter: Int64) -> Bool {
    let nextUse = nextUse.withLock { $0 }
    let terms = CacheIndex.Terms(
      policy: policy, deadAfter: deadAfter, nextUse: nextUse?(id.low),
      nextUseOf: { nextUse?($0.low) })
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
      switch evict(freeing: missing, terms) {
      case .victims: continue
      case .keeps:
        metrics.filesReadPast.add()
        return false
      case .inUse: break
      }
      // What is held open for later use goes before new bytes stay out.
      if hasAsked { break }
      hasAsked = true
      pressureHandler.withLock { $0 }?(())
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
    let free = Self.free(status)
    let underFloor = bytes + floor > free ? bytes + floor - free : 0
    let lacksInodes = status.f_files > 0 && status.f_favail < Self.inodeFloor
    return max(overLimit, underFloor, lacksInodes ? 1 : 0)
  }

  private static func free(_ status: statvfs) -> UInt64 {
    UInt64(status.f_bavail) * UInt64(status.f_frsize)
  }

  private var freeSpace: UInt64? {
    var status = statvfs()
    return statvfs(folder.path, &status) == 0 ? Self.free(status) : nil
  }

  /// Unlinks files that nobody has open, if any should go.
  private func evict(freeing bytes: UInt64, _ terms: CacheIndex.Terms) -> CacheIndex.Choice {
    let choice = index.withLock { index in
      generator.withLock { index.chooseVictims(freeing: bytes, terms, using: &$0) }
    }
    if case .victims(let victims) = choice { unlink(victims) }
    return choice
  }

  private func unlink(_ victims: [CacheIndex.Victim]) {
    for victim in victims {
      CacheFile.remove(victim.id, in: folder)
      index.withLock { $0.forget(victim.id) }
      metrics.evictedFiles.add()
      metrics.evictedBytes.add(victim.bytes)
    }
    publish()
  }

  private func publish() {
    let (bytes, files) = index.withLock { ($0.usedBytes, $0.count) }
    metrics.diskBytes.set(Int64(clamping: bytes))
    metrics.diskFiles.set(Int64(files))
  }

  // MARK: Census

  /// Finds the files of earlier mounts, so that they count and can be evicted.
  private func countFiles() {
    let began = Int64(time(nil))
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
            secondsBefore: began - Int64(max(status.st_atim.tv_sec, status.st_mtim.tv_sec)))
        }
      }
    }
    publish()
  }

  /// A sidecar whose mirror is gone.
  private func removeIfOrphan(_ path: String) {
    guard path.hasSuffix(".pieces") else { return }
    if access(String(path.dropLast(".pieces".count)), F_OK) != 0 { Glibc.unlink(path) }
  }
}
