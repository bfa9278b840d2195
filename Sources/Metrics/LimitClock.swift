import Posix

/// The time in which our own rate limits (`--max-bandwidth`, `--max-requests-per-second`) hold back every request, those
/// that a reader waits for included. Fed by the transports, read where a wait is split into its causes.
public final class LimitClock: Sendable {
  private struct State {
    /// Transports that hold requests back now.
    var holding = 0
    var since: Int64 = 0
    var total: Int64 = 0
  }

  private let state = Lock(State())

  public init() {}

  /// A transport begins to hold requests back, or ends it: as often the one as the other. `now`: nanoseconds of any
  /// clock that all callers share.
  public func holds(_ isHolding: Bool, at now: Int64) {
    state.withLock { state in
      if isHolding {
        if state.holding == 0 { state.since = now }
        state.holding += 1
      } else {
        state.holding -= 1
        if state.holding == 0 { state.total += max(0, now - state.since) }
      }
    }
  }

  /// Nanoseconds up to now: the difference of two readings is what a wait between them has of it.
  public func nanoseconds(at now: Int64) -> Int64 {
    state.withLock { $0.total + ($0.holding > 0 ? max(0, now - $0.since) : 0) }
  }
}
