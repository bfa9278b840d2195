/// The one place where a store's error becomes an errno, and where it is logged.
import Logging
import ObjectStore
import Posix
import SystemPackage

extension StoreError {
  /// The errno that a program gets. ENOENT and EACCES say what they mean; everything that a retry may cure
  /// is EIO, since no errno of the file interface says "later".
  var errno: Errno {
    switch kind {
    case .notFound: .noSuchFileOrDirectory
    case .accessDenied: .permissionDenied
    case .changed: .staleNFSFileHandle
    default: .ioError
    }
  }
}

/// One line for each failed operation, with key, store and cause; at most one a second of each
/// kind, so that a store that is down does not fill the log.
final class StoreErrorLog: Sendable {
  private struct Recent {
    var last: Instant
    var suppressed = 0
  }

  private let log: Logger
  private let interval: Duration
  private let recent = Lock<[StoreError.Kind: Recent]>([:])

  init(log: Logger, interval: Duration = .seconds(1)) {
    self.log = log
    self.interval = interval
  }

  func report(_ error: StoreError, during operation: String, at now: Instant) {
    // Absence is an answer, and shutting down is no failure.
    if error.kind == .notFound || error.kind == .cancelled { return }
    guard let suppressed = admit(error.kind, at: now) else { return }
    let more = suppressed == 0 ? "" : " (and \(suppressed) similar errors)"
    log.warning("\(operation): \(error)\(more)")
  }

  /// The number of lines left out since the last one, or nil if this one is left out too.
  func admit(_ kind: StoreError.Kind, at now: Instant) -> Int? {
    recent.withLock { recent in
      if var known = recent[kind], now < known.last + interval {
        known.suppressed += 1
        recent[kind] = known
        return nil
      }
      let suppressed = recent[kind]?.suppressed ?? 0
      recent[kind] = Recent(last: now)
      return suppressed
    }
  }
}
