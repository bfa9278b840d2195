import DequeModule
import ObjectStore
import Posix

/// Where one exchange stands, as the scheduler knows it.
struct ScheduledExchange: Sendable {
  /// What an exchange says of itself when it is started.
  struct Plan: Sendable {
    var deadline: Instant
    var limits: ExchangeLimits
    var mayBeHedged = false
  }

  enum Phase: Equatable, Sendable {
    /// Waits for one of the transfers that may run at once.
    case queued
    /// Admitted: its request is being made.
    case starting
    /// Cannot make a request before that signal comes; the error if it does not.
    case waiting(ObjectIdentifier, StoreError)
    /// On the wire: `race`.
    case running
    /// Off the wire again: the exchange is asked what next.
    case ending
    case backingOff
    /// Its back-off is over; waits for the retry budget.
    case awaitingBudget
  }

  let plan: Plan
  var phase = Phase.queued
  var retry: RetryState
  var race: TransferRace?
  /// When the phase is due to be checked; the deadline counts besides.
  var alarm = Instant.distantFuture
  /// `RateLimiter.heldTime` when it was queued.
  var heldTimeAtQueue = Duration.zero
  /// When its last attempt began, and how much that requested.
  var sentAt = Instant(nanoseconds: 0)
  var size = TTFBTracker.SizeClass.unknown

  init(_ plan: Plan) {
    self.plan = plan
    retry = RetryState(
      deadline: plan.deadline, policy: RetryPolicy(maxAttempts: plan.limits.maxAttempts))
  }

  var nextAlarm: Instant { min(alarm, plan.deadline) }

  private static let young = Duration.seconds(1)

  /// How it ends at its deadline. `heldTime`: as when it was queued, now; `requestsMax`: those that may be in flight.
  func expiry(now: Instant, heldTime: Duration, requestsMax: Int) -> TransferExpiry {
    if let race {
      // One that had only begun says nothing: what ended those before it does.
      if now - race.first.startedAt < Self.young, let cause = retry.causeAtDeadline {
        return .fail(cause)
      }
      return .running(race.first.id)
    }
    if case .waiting(_, let cause) = phase { return .fail(cause) }
    if let cause = retry.causeAtDeadline { return .fail(cause) }
    let held = heldTime - heldTimeAtQueue
    let reason =
      held > .milliseconds(500)
      ? "held back by --max-bandwidth or --max-requests-per-second for "
        + "\(Int(held.seconds)) s: raise it"
      : "queued behind \(requestsMax) requests in flight"
    return .unsent(TransferFailure(.other, detail: reason))
  }
}

extension SlotTable<ScheduledExchange> {
  /// Nil: it has ended.
  func phase(of id: ExchangeID) -> ScheduledExchange.Phase? {
    index(of: id).map { values[$0].phase }
  }

  /// What its retry costs.
  func lastCost(of id: ExchangeID) -> Double {
    index(of: id).map { values[$0].retry.lastCost } ?? 0
  }
}

extension Deque<ExchangeID> {
  /// Exchanges that ended while they waited stay in their queue until it is their turn; they must not pile up before
  /// that.
  mutating func dropEnded(_ exchanges: SlotTable<ScheduledExchange>) {
    if count > 2 * exchanges.count + 64 { removeAll { !exchanges.contains($0) } }
  }
}
