import Metrics
import ObjectStore
import Posix

/// Second requests of slow attempts. Both run until one has the head of an answer; an attempt ends when
/// neither runs any more.
extension TransferLoop {
  /// When a running attempt wants to be looked at next.
  func nextCheck(
    at task: ExchangeTask, _ transfer: Transfer, _ watch: ProgressWatch, now: Instant
  ) -> Instant {
    let usual = now + watch.interval
    guard configuration.hedges, task.hedge == nil, task.winner == nil,
      let slow = HedgePolicy.slow(waits.usual(task.size)), task.exchange?.mayBeHedged == true
    else { return usual }
    let due = transfer.startedAt + slow
    if due > now { return min(usual, due) }
    // Past it and not hedged: there was no budget, or there is no waiter yet.
    return task.exchange?.isAwaited == true ? usual : min(usual, now + slow)
  }

  func hedgeIfSlow(_ task: ExchangeTask, _ transfer: Transfer, now: Instant) {
    guard configuration.hedges, task.hedge == nil, task.winner == nil,
      let exchange = task.exchange, exchange.mayBeHedged,
      let slow = HedgePolicy.slow(waits.usual(task.size)),
      now >= transfer.startedAt + slow, exchange.isAwaited,
      running < concurrency.limit,
      // A hedged request is not worth a debt of the limits that the user set.
      limits.earliest(isAwaited: true, now: now) <= now,
      hedging.withdraw(now: now)
    else { return }
    // What cannot be sent now is no harm: the first request is still under way.
    guard case .sent(let second) = send(task, exchange, besides: transfer) else { return }
    metrics.hedges.add()
    task.hedge = second
    hedged.append(task)
  }

  /// The head of an answer has come over one of a task's transfers, in a callback of libcurl's, in which
  /// the other cannot be ended.
  func endLosers() {
    guard !hedged.isEmpty else { return }
    hedged.removeAll { task in
      guard let hedge = task.hedge, let winner = task.winner else {
        return task.hedge == nil
      }
      if winner === hedge {
        metrics.hedgesWon.add()
        becomeFirst(hedge, of: task)
      }
      endHedge(of: task)
      return true
    }
  }

  /// One of two transfers has ended. True: the attempt goes on with the other.
  func endsHedgedTransfer(_ task: ExchangeTask, _ transfer: Transfer) -> Bool {
    guard let hedge = task.hedge, task.winner !== transfer else { return false }
    if let status = transfer.droppedStatus, status == 429 || status == 503 {
      hedging.throttled(now: .now)
      concurrency.throttled(running: running, sentAt: transfer.startedAt, now: .now)
    }
    if transfer !== hedge { becomeFirst(hedge, of: task) }
    // It is the hedge now, whichever it was.
    endHedge(of: task)
    return true
  }

  /// The first request was given up. True: the second goes on in its place.
  func goesOnWithHedge(_ task: ExchangeTask, now: Instant) -> Bool {
    guard let hedge = task.hedge, task.winner == nil else { return false }
    becomeFirst(hedge, of: task)
    endHedge(of: task)
    let watch = watch(task, now: now)
    task.phase = .running(hedge, watch)
    setAlarm(now + watch.interval, of: task)
    return true
  }

  /// The second request takes the place of the first, which takes the place of the second.
  private func becomeFirst(_ hedge: Transfer, of task: ExchangeTask) {
    guard case .running(let first, let watch) = task.phase else { return }
    task.phase = .running(hedge, watch)
    task.hedge = first
  }

  func endHedge(of task: ExchangeTask) {
    guard let hedge = task.hedge else { return }
    task.hedge = nil
    release(hedge)
  }
}
