import Posix

/// The retries that all exchanges of a transport share, so that a store in trouble is not hammered
/// by everybody at once: a token bucket with the prices of AWS's standard mode.
///
/// Unlike there an empty bucket does not fail the request: it makes the retry wait. The bucket
/// fills slowly with time, which is the pace at which a store that is gone gets asked; and each
/// retry that succeeds brings twice its price, so that the line of those who wait is let go in
/// doubling rounds once the store is back.
struct RetryBudget: Sendable {
  static let transientCost = 14.0
  static let throttleCost = 5.0

  let capacity: Double
  /// Two retries of transient failures a second out of an empty bucket.
  let tokensPerSecond: Double
  private(set) var tokens: Double
  private var filledAt: Instant

  init(capacity: Double = 500, tokensPerSecond: Double = 28, now: Instant) {
    self.capacity = capacity
    self.tokensPerSecond = tokensPerSecond
    tokens = capacity
    filledAt = now
  }

  static func cost(isThrottle: Bool) -> Double { isThrottle ? throttleCost : transientCost }

  /// False: wait until `available(cost:)`.
  mutating func withdraw(_ cost: Double, now: Instant) -> Bool {
    fill(now)
    guard tokens >= cost else { return false }
    tokens -= cost
    return true
  }

  /// An exchange succeeded; `cost` is what its last retry was charged, 0 if it was the first try.
  mutating func succeeded(cost: Double) {
    tokens = min(capacity, tokens + (cost > 0 ? 2 * cost : 1))
  }

  /// When `cost` will be there if nothing else happens.
  func available(_ cost: Double) -> Instant {
    let missing = cost - tokens
    guard missing > 0 else { return filledAt }
    // A microsecond more, so that rounding never makes the caller come just too early.
    return filledAt + .nanoseconds(Int64(missing / tokensPerSecond * 1e9) + 1000)
  }

  private mutating func fill(_ now: Instant) {
    guard now > filledAt else { return }
    tokens = min(capacity, tokens + (now - filledAt).seconds * tokensPerSecond)
    filledAt = now
  }
}
