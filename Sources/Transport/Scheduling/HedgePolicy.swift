import Posix

/// When a request that has had no answer is asked a second time on another connection, whichever
/// answers first being taken. A slow answer is mostly the fault of one server or one connection.
///
/// Pure. Bounded by a budget: a share of the requests, so that a store that is slow as a whole is not
/// asked twice as much; and not at all while it asks for less.
struct HedgePolicy: Sendable {
  /// Second requests for each first one.
  static let share = 0.02
  /// Unused budget that may be saved up, in second requests.
  static let most = 8.0
  /// Second requests pause for this long after the store asked for less.
  static let pauseAfterThrottle: Duration = .seconds(10)
  /// Slow is a wait of more than so many times that which 19 of 20 answers stay within...
  static let factor = 2.0
  /// ... and more than this: below it a second request gains nothing.
  static let leastWait: Duration = .milliseconds(20)

  private var budget = 1.0
  private var pausedUntil = Instant(nanoseconds: 0)

  /// A wait for the first byte that is longer calls for a second request. `usual`: what 19 of 20 waits
  /// stayed within (`TTFBTracker`); nil: too little is known.
  static func slow(_ usual: Duration?) -> Duration? {
    usual.map { max(leastWait, .nanoseconds(Int64($0.seconds * factor * 1e9))) }
  }

  /// A request went out.
  mutating func requested() { budget = min(Self.most, budget + Self.share) }

  mutating func throttled(now: Instant) { pausedUntil = now + Self.pauseAfterThrottle }

  /// Takes a second request from the budget; false if there is none to be had.
  mutating func withdraw(now: Instant) -> Bool {
    guard now >= pausedUntil, budget >= 1 else { return false }
    budget -= 1
    return true
  }
}
