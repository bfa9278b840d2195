import DequeModule
import Metrics
import Posix

/// Which exchange goes next; the rate limits that the user set, what they hold back and for how long.
extension TransferLoop {
  func admit() {
    nextAdmission = .distantFuture
    endHolding(.now)
    while running < concurrency.limit, let task = ready.first {
      guard case .queued = task.phase, let exchange = task.exchange else {
        ready.removeFirst()
        continue
      }
      let start = limits.earliest(isAwaited: exchange.isAwaited, now: .now)
      if start <= .now {
        ready.removeFirst()
        beginAttempt(task)
      } else if limits.earliest(isAwaited: true, now: .now) <= .now, let index = firstAwaited() {
        // A prefetch must wait. A request that has a waiter need not, and is queued behind it.
        let awaited = ready.remove(at: index)
        beginAttempt(awaited)
      } else {
        nextAdmission = start
        return hold(.now)
      }
    }
    setHoldsAll(false, .now)
  }

  private func firstAwaited() -> Int? {
    ready.firstIndex { task in
      guard case .queued = task.phase else { return false }
      return task.exchange?.isAwaited == true
    }
  }

  /// Less is the clock's own noise.
  private static let leastWait = Duration.microseconds(100)

  /// The time in which limits have held requests back so far.
  func limitTime(_ now: Instant) -> Duration { limited + (limitedSince.map { now - $0 } ?? .zero) }

  /// Admission begins: nothing is held back until it finds so.
  func endHolding(_ now: Instant) {
    guard let since = limitedSince else { return }
    limited += now - since
    limitedSince = nil
  }

  /// The limits let nothing go before `nextAdmission`, or nothing but what a reader waits for.
  func hold(_ now: Instant) {
    limitedSince = now
    setHoldsAll(limits.earliest(isAwaited: true, now: now) > now && firstAwaited() != nil, now)
  }

  func setHoldsAll(_ holdsAll: Bool, _ now: Instant) {
    guard holdsAll != limitsHoldAll else { return }
    limitsHoldAll = holdsAll
    metrics.limitClock.holds(holdsAll, at: Int64(clamping: now.nanoseconds))
  }

  /// The task leaves the queue: its exchange learns what of its wait was our own doing.
  func tellLimitWait(of task: ExchangeTask, _ now: Instant) {
    let wait = limitTime(now) - task.limitTimeAtQueue
    guard wait > Self.leastWait else { return }
    metrics.rateLimitedRequests.add()
    task.exchange?.waitedForLimit(wait)
  }
}
