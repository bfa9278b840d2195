import Glibc
import Logging
import Metrics
import ObjectStore
import Posix
import SystemPackage

/// What all parts of a mount's file system share: the store and the place in it, the options, and where to report.
/// Parts are given one another by name and are not found here.
struct MountContext: Sendable {
  let store: any ObjectStore
  let paths: MountPaths
  let options: FileSystemOptions
  let metrics: Metrics
  let log: Logger
  let errors: StoreErrorLog

  init(
    store: any ObjectStore, prefix: ObjectKey, options: FileSystemOptions, metrics: Metrics,
    log: Logger
  ) {
    self.store = store
    paths = MountPaths(root: prefix)
    self.options = options
    self.metrics = metrics
    self.log = log
    errors = StoreErrorLog(log: log)
  }

  /// Of ages of what is known; deadlines of the store go by the real clock.
  var now: Instant { options.clocks.now() }

  /// Until when the store has to answer a request that is sent now.
  var deadline: Instant { .now + options.ioTimeout }

  /// Logs an error of the store. Returns the errno that a program gets.
  func report(_ error: StoreError, during operation: String) -> Errno {
    errors.report(error, during: operation, at: .now)
    return error.errno
  }

  var shuttingDown: StoreError {
    StoreError(.cancelled, store: store.displayName, detail: "shutting down")
  }
}

/// The clocks of a mount's metadata; a test moves them by hand.
struct MetadataClocks: Sendable {
  /// Tells the age of what is known.
  var now: @Sendable () -> Instant = { .nowCountingSleep }
  /// Nanoseconds since 1970: what is kept from one mount to the next goes by it.
  var wallTime: @Sendable () -> Int64 = {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
  }
}
