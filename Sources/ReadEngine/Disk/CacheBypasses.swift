/// What is read past the disk tier, and why: counted, and logged the first time.
import Logging
import Metrics
import Synchronization

final class CacheBypasses: Sendable {
  /// Of the cache directory, for the log.
  private let path: String
  private let metrics: CacheMetrics
  private let log: Logger
  private let hasLoggedFull = Atomic(false)
  /// The least size of which the file system has refused a file, bytes.
  private let refusedSize = Atomic(UInt64.max)

  init(path: String, metrics: CacheMetrics, log: Logger) {
    self.path = path
    self.metrics = metrics
    self.log = log
  }

  /// False where the file system holds no file of so many bytes (ext4: more than 16 TiB; a process's limit).
  func holdsFile(ofSize size: UInt64) -> Bool { size < refusedSize.load(ordering: .relaxed) }

  /// The file system, or the limit of this process, has refused a file of so many bytes.
  func refused(fileOfSize size: UInt64) {
    metrics.cacheBypassedFiles.add()
    let before = refusedSize.min(size, ordering: .relaxed).oldValue
    guard before == .max else { return }
    log.notice(
      """
      the disk cache \(path) holds no file of \(size) bytes (the file system's limit, or ulimit -f): \
      objects this large are read from the store each time
      """)
  }

  /// What the disk holds is worth more than a file that came.
  func outranked() { metrics.cacheBypassedFiles.add() }

  /// Nothing may be evicted for a file that came.
  func full() {
    guard !hasLoggedFull.exchange(true, ordering: .relaxed) else { return }
    log.notice("the disk cache \(path) is full of open or pinned files; reads continue without it")
  }
}
