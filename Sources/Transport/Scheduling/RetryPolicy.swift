import Posix

/// How long to wait before the next attempt, and how many attempts there are: exponential back-off
/// with full jitter, as AWS's SDKs do it.
struct RetryPolicy: Sendable {
  /// Attempts in a row without progress.
  var maxAttempts = 16
  /// Upper end of the first wait after a transient failure.
  var transientBase: Duration = .milliseconds(100)
  /// The same after "slow down": the store has said that it is not the network.
  var throttleBase: Duration = .milliseconds(500)
  var cap: Duration = .seconds(20)

  /// A wait between nothing and the ceiling of the `failures`-th failure in a row (1, 2, ...).
  func backoff(
    failures: Int, isThrottle: Bool, random: inout some RandomNumberGenerator
  ) -> Duration {
    .nanoseconds(
      Int64.random(in: 0...ceiling(failures: failures, isThrottle: isThrottle), using: &random))
  }

  /// Nanoseconds.
  func ceiling(failures: Int, isThrottle: Bool) -> Int64 {
    let base = (isThrottle ? throttleBase : transientBase).nanoseconds
    let limit = cap.nanoseconds
    let doublings = max(0, failures - 1)
    guard doublings < base.leadingZeroBitCount - 1 else { return limit }
    return min(limit, base << Int64(doublings))
  }
}
