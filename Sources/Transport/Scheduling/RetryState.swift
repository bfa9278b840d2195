import ObjectStore
import Posix

/// What one exchange has tried so far, and whether and when it tries again. A value: the event
/// loop tells it what happened and does what it answers.
struct RetryState: Sendable {
  /// `.again` is bounded by the exchange; this is the defence against one that forgot.
  static let maxRepeats = 8
  /// With less than this left before the deadline another attempt is not worth its request.
  static let leastTimeLeft: Duration = .milliseconds(20)

  enum Next {
    case finish(Result<Void, StoreError>)
    case repeatNow
    /// Wait, then take `cost` from the budget, then go.
    case retry(notBefore: Instant, cost: Double)
  }

  let deadline: Instant
  let policy: RetryPolicy
  /// The number that `makeRequest` is given.
  private(set) var attempt = 0
  /// Failures since bytes last came.
  private(set) var failures = 0
  private(set) var repeats = 0
  private(set) var lastCause: StoreError?
  /// What the running attempt was charged.
  private(set) var lastCost = 0.0

  init(deadline: Instant, policy: RetryPolicy) {
    self.deadline = deadline
    self.policy = policy
  }

  /// An attempt ended. `madeProgress`: it streamed bytes that were taken; a long object over a bad
  /// network gets as many attempts as bring it forward. `waitsForStore`: no request succeeds, and only the deadline
  /// ends the attempts.
  mutating func ended(
    _ verdict: Verdict, madeProgress: Bool, waitsForStore: Bool = false, origin: String,
    now: Instant,
    random: inout some RandomNumberGenerator
  ) -> Next {
    attempt += 1
    switch verdict {
    case .succeeded: return .finish(.success(()))
    case .failed(let error): return .finish(.failure(error))
    case .again: return countRepeat(origin: origin)
    case .retry(let cause, let isThrottle, let after):
      lastCause = cause
      if madeProgress { failures = 0 }
      // Some are left for when the store is back.
      failures = waitsForStore ? min(failures + 1, policy.maxAttempts * 3 / 4) : failures + 1
      guard failures < policy.maxAttempts else { return .finish(.failure(cause)) }
      let wait = policy.backoff(failures: failures, isThrottle: isThrottle, random: &random)
      guard let start = fitted(wait, after: after, now: now) else {
        return .finish(.failure(Self.timedOut(cause)))
      }
      lastCost = RetryBudget.cost(isThrottle: isThrottle)
      return .retry(notBefore: start, cost: lastCost)
    }
  }

  /// The deadline passed while nothing was running. Nil: nothing was ever tried.
  var causeAtDeadline: StoreError? { lastCause.map(Self.timedOut) }

  static func timedOut(_ cause: StoreError) -> StoreError {
    var error = cause
    error.kind = .timedOut
    return error
  }

  private mutating func countRepeat(origin: String) -> Next {
    repeats += 1
    guard repeats <= Self.maxRepeats else {
      return .finish(
        .failure(
          StoreError(
            .badReply, store: origin,
            detail: "redirect loop: more than \(Self.maxRepeats) redirects",
            advice: "check endpoint and region")))
    }
    return .repeatNow
  }

  /// A wait that would pass the deadline is shortened to half of what is left: a store that comes
  /// back at the last moment is still noticed. What the store asked for (`after`) is not shortened.
  private func fitted(_ wait: Duration, after: Duration?, now: Instant) -> Instant? {
    let left = now < deadline ? deadline - now : .zero
    guard left >= Self.leastTimeLeft else { return nil }
    let start = now + max(min(wait, left / 2), after ?? .zero)
    return start < deadline ? start : nil
  }
}
