import ObjectStore
import Posix

/// Whether the store has an outage: requests that have a waiter fail, and none has succeeded since. Pure.
///
/// A failure that concerns one object alone is no outage: another request succeeds meanwhile.
struct OutageWatch {
  /// A line of the log is due.
  struct Line: Equatable {
    var lasted: Duration
    var cause: StoreError
  }

  /// From the first failure to the first line, and between lines.
  let interval: Duration
  private(set) var since: Instant?
  private(set) var cause: StoreError?
  private var nextLine = Instant.distantFuture
  private var hasLine = false

  init(interval: Duration) { self.interval = interval }

  /// Failures that say nothing of the object: no connection, no answer, or one that asks to come again.
  static func concerns(_ error: StoreError) -> Bool {
    switch error.kind {
    case .unreachable, .tls, .timedOut, .throttled, .serverFailure: true
    default: false
    }
  }

  /// The store itself has said so: it is there.
  static func isAnswer(_ error: StoreError) -> Bool {
    switch error.kind {
    case .notFound, .accessDenied, .changed, .archived: true
    default: false
    }
  }

  /// An attempt that began at `startedAt` failed so.
  mutating func failed(_ error: StoreError, startedAt: Instant, now: Instant) {
    cause = error
    guard since == nil else { return }
    let start = min(startedAt, now)
    since = start
    nextLine = start + interval
  }

  /// A request succeeded. How long the store was away, if a line said that it was.
  mutating func answered(now: Instant) -> Duration? {
    defer { clear() }
    return hasLine ? since.map { now - $0 } : nil
  }

  /// No waiter is left.
  mutating func clear() {
    since = nil
    hasLine = false
    nextLine = .distantFuture
  }

  /// When `line` is to be asked next.
  var nextCheck: Instant { nextLine }

  mutating func line(now: Instant) -> Line? {
    guard let since, let cause, now >= nextLine else { return nil }
    nextLine = now + interval
    hasLine = true
    return Line(lasted: now - since, cause: cause)
  }
}
