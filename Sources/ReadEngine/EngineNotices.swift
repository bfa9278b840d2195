/// What the engine lets others know: a change in the store, trouble with the cache directory, the log.
import Logging
import Metrics
import ObjectStore
import Posix
import SystemPackage

final class EngineNotices: Sendable {
  let log: Logger
  private let metrics: CacheMetrics
  private let disk: DiskTier?
  private let changeHandler = Lock<Callback<ObjectVersion, Void>?>(nil)
  private let lastDiskTrouble = Lock(Instant(nanoseconds: 0))

  init(metrics: CacheMetrics, log: Logger, disk: DiskTier?) {
    self.metrics = metrics
    self.log = log
    self.disk = disk
  }

  func onChanged(_ handler: @escaping @Sendable (ObjectVersion) -> Void) {
    changeHandler.withLock { $0 = Callback(handler) }
  }

  func changed(_ version: ObjectVersion) {
    log.notice(
      "\(version.key) was changed or removed in the store; its open files are stale (ESTALE)")
    changeHandler.withLock { $0 }?(version)
  }

  /// Trouble with the cache folder is a miss and a counter; one line a minute says so.
  func diskTrouble(_ what: String, _ errno: Errno) {
    metrics.diskErrors.add()
    // What is kept open for later use goes, so that the next opens find a descriptor.
    if errno == .tooManyOpenFiles { disk?.closeIdleFiles() }
    let isDue = lastDiskTrouble.withLock { last in
      guard Instant.now - last > .seconds(60) else { return false }
      last = .now
      return true
    }
    if isDue { log.warning("\(what): \(errno); reading from the store instead") }
  }
}
