import ObjectStore
import Posix

/// Whether the store has an outage: requests that have a waiter fail, and none has succeeded since. Pure.
///
/// A failure that concerns one object alone is no outage: another request succeeds meanwhile.
struct OutageWatch: Sendable {
  /// What is to be made known.
  enum Change: Equatable, Sendable {
    /// No request has succeeded for some seconds.
    case isAway(since: Instant, cause: StoreError)
    /// A request has succeeded; `lasted`: where a line of the log said that there is an outage.
    case isOver(store: String, lasted: Duration?)
    /// Nothing is requested any more.
    case isAbandoned
    case lasts(Line)
  }

  /// A line of the log is due.
  struct Line: Equatable, Sendable {
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

  // MARK: What the scheduler reports

  /// From the first seconds of an outage on: one failure is no outage yet.
  private static let least = Duration.seconds(10)

  /// No request has succeeded for some seconds.
  func isAway(now: Instant) -> Bool {
    since.map { now - $0 >= min(interval, Self.least) } ?? false
  }

  /// An exchange has judged an attempt that began at `startedAt`.
  mutating func judged(_ verdict: Verdict, startedAt: Instant, now: Instant) -> Change? {
    switch verdict {
    case .retry(let cause, _, _), .failed(let cause):
      if Self.concerns(cause) {
        failed(cause, startedAt: startedAt, now: now)
        guard let since, isAway(now: now) else { return nil }
        return .isAway(since: since, cause: cause)
      }
      // Garbage says neither that the store is there nor that it is away.
      return Self.isAnswer(cause) ? responded(now: now) : nil
    case .succeeded, .again: return responded(now: now)
    }
  }

  /// A request succeeded. Nil: there was no outage.
  mutating func responded(now: Instant) -> Change? {
    guard since != nil else { return nil }
    let store = cause?.store ?? ""
    return .isOver(store: store, lasted: answered(now: now))
  }

  /// From time to time. `isIdle`: no exchange is left; `isAnswered`: one has a good response since then, though it
  /// has not ended.
  mutating func check(
    now: Instant, isIdle: Bool, isAnswered: (_ since: Instant) -> Bool
  ) -> Change? {
    guard let since else { return nil }
    if isIdle {
      clear()
      return .isAbandoned
    }
    guard now >= nextCheck else { return nil }
    if isAnswered(since) { return responded(now: now) }
    return line(now: now).map { .lasts($0) }
  }

  /// No waiter is left.
  private mutating func clear() {
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
