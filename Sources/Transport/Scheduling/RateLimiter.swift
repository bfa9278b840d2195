import Posix

/// The rate limits that the user sets: requests and bytes a second. Pure.
///
/// A request is charged for the bytes that it requests when it is sent. Bytes that were not received are
/// credited at its end, and extra bytes are charged. So the limit is kept without pausing a transfer: a
/// large one leaves a debt, and the next waits until it is paid.
struct RateLimiter: Sendable {
  private struct Bucket {
    let rate: Double
    /// A tenth of a second's worth may come at once, and one in any case.
    let capacity: Double
    var tokens: Double
    var filledAt: Instant

    init(rate: Double, now: Instant) {
      self.rate = rate
      capacity = max(1, rate / 10)
      tokens = capacity
      filledAt = now
    }

    mutating func fill(_ now: Instant) {
      guard now > filledAt else { return }
      tokens = min(capacity, tokens + (now - filledAt).seconds * rate)
      filledAt = now
    }

    /// When there will be `needed`.
    func earliest(_ needed: Double) -> Instant {
      let missing = needed - tokens
      // A microsecond more, so that rounding never makes the caller come just too early.
      return missing <= 0 ? filledAt : filledAt + .nanoseconds(Int64(missing / rate * 1e9) + 1000)
    }
  }

  /// What a reader waits for may run into a debt of so many seconds' worth of bytes.
  static let demandDebt = 0.5

  private var requests: Bucket?
  private var bytes: Bucket?
  /// The time in which they held requests back, and since when they do so now.
  private var held = Duration.zero
  private var heldSince: Instant?

  /// `nil`: no limit.
  init(requestsPerSecond: Double? = nil, bytesPerSecond: Int? = nil, now: Instant) {
    requests = requestsPerSecond.map { Bucket(rate: max($0, 0.1), now: now) }
    bytes = bytesPerSecond.map { Bucket(rate: Double(max($0, 1024)), now: now) }
  }

  /// When the next request may go; not later than `now` if it may now.
  mutating func earliest(isAwaited: Bool, now: Instant) -> Instant {
    requests?.fill(now)
    bytes?.fill(now)
    var start = Instant(nanoseconds: 0)
    if let requests { start = max(start, requests.earliest(1)) }
    if let bytes {
      start = max(start, bytes.earliest(isAwaited ? -Self.demandDebt * bytes.rate : 0))
    }
    return start <= now ? now : start
  }

  mutating func sent(expecting count: Int, now: Instant) {
    requests?.fill(now)
    bytes?.fill(now)
    requests?.tokens -= 1
    bytes?.tokens -= Double(count)
  }

  /// A request has ended.
  mutating func received(_ count: Int, expected: Int) { bytes?.tokens -= Double(count - expected) }

  // MARK: What they hold back

  /// The time in which they have held requests back so far.
  func heldTime(_ now: Instant) -> Duration { held + (heldSince.map { now - $0 } ?? .zero) }

  /// They let nothing go now, or nothing but what a reader waits for.
  mutating func beginHolding(_ now: Instant) { heldSince = now }

  /// Admission begins: nothing is held back until it finds so.
  mutating func endHolding(_ now: Instant) {
    guard let since = heldSince else { return }
    held += now - since
    heldSince = nil
  }
}
