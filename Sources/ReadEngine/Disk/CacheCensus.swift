/// What earlier mounts left in the cache folder: a thread finds it, so that mounting does not wait for it.
import Glibc
import Posix
import Synchronization
import SystemPackage

final class CacheCensus: Sendable {
  private let folder: PrivateFolder
  private let files: CacheFiles
  private let isStopping = Atomic(false)
  private let thread: Lock<Thread?> = Lock(nil)
  /// The index has all files of earlier mounts; what it says before is less than there is.
  private let isCounted = Monitor(false)

  init(of folder: PrivateFolder, into files: CacheFiles) {
    self.folder = folder
    self.files = files
  }

  func start() throws(EngineError) {
    do throws(Errno) {
      let thread = try Thread.start(named: "census") { [self] in countFiles() }
      self.thread.withLock { $0 = thread }
    } catch {
      throw .noThread("that counts the cache", error)
    }
  }

  /// Ends it, finished or not.
  func stop() {
    isStopping.store(true, ordering: .relaxed)
    let thread = self.thread.withLock { $0 }
    thread?.join()
  }

  /// False: the files of earlier mounts are not all found by `deadline`.
  func waitUntilCounted(by deadline: Instant) -> Bool {
    isCounted.wait(until: deadline) { $0 ? true : nil } ?? false
  }

  /// Finds the files of earlier mounts, so that they count and can be evicted.
  private func countFiles() {
    defer { isCounted.signal(all: true) { $0 = true } }
    let began = Int64(time(nil))
    for sub in folder.names(in: "objects") {
      let path = "objects/\(sub)"
      for name in folder.names(in: path) {
        if isStopping.load(ordering: .relaxed) { return }
        guard let id = FileID(name: name) else {
          removeIfOrphan("\(path)/\(name)")
          continue
        }
        guard let status = folder.status(of: "\(path)/\(name)") else { continue }
        let extra = folder.status(of: "\(path)/\(name).pieces")?.st_blocks ?? 0
        files.discover(
          id, bytes: UInt64(status.st_blocks + extra) * 512,
          secondsBefore: began - Int64(max(status.st_atim.tv_sec, status.st_mtim.tv_sec)))
      }
    }
    files.publish()
  }

  /// A sidecar whose mirror is gone.
  private func removeIfOrphan(_ path: String) {
    guard path.hasSuffix(".pieces") else { return }
    let mirror = String(path.dropLast(".pieces".count))
    if folder.status(of: mirror) == nil, errno == ENOENT { folder.remove(path) }
  }
}
