/// What earlier mounts left in the cache folder.
import Glibc
import Posix
import Synchronization
import SystemPackage

extension DiskTier {
  /// Finds the files of earlier mounts, so that they count and can be evicted.
  func countFiles() {
    defer { isCounted.signal(all: true) { $0 = true } }
    let began = Int64(time(nil))
    let files = folder.files
    for sub in files.names(in: "objects") {
      let path = "objects/\(sub)"
      for name in files.names(in: path) {
        if isStopping.load(ordering: .relaxed) { return }
        guard let id = FileID(name: name) else {
          removeIfOrphan("\(path)/\(name)")
          continue
        }
        guard let status = files.status(of: "\(path)/\(name)") else { continue }
        let extra = files.status(of: "\(path)/\(name).pieces")?.st_blocks ?? 0
        index.withLock {
          $0.discover(
            id, bytes: UInt64(status.st_blocks + extra) * 512,
            secondsBefore: began - Int64(max(status.st_atim.tv_sec, status.st_mtim.tv_sec)))
        }
      }
    }
    publish()
  }

  /// False: the files of earlier mounts are not all found by `deadline`.
  func waitUntilCounted(by deadline: Instant) -> Bool {
    isCounted.wait(until: deadline) { $0 ? true : nil } ?? false
  }

  /// A sidecar whose mirror is gone.
  private func removeIfOrphan(_ path: String) {
    guard path.hasSuffix(".pieces") else { return }
    let mirror = String(path.dropLast(".pieces".count))
    if folder.files.status(of: mirror) == nil, errno == ENOENT { folder.files.remove(path) }
  }
}
