import Posix

/// Alarms: the ends of back-offs, the looks at running transfers, and deadlines.
extension TransferLoop {
  func setAlarm(_ instant: Instant, of task: ExchangeTask) {
    task.alarm = instant
    nextAlarm = min(nextAlarm, instant, task.deadline)
  }

  func nextWakeUp() -> Instant {
    var instant = min(nextAlarm, nextAdmission, outage.nextCheck)
    if let first = awaitingBudget.first {
      instant = min(instant, budget.available(first.ledger.lastCost))
    }
    if let idleSince { instant = min(instant, idleSince + configuration.closeIdleAfter) }
    return instant
  }

  /// Alarms are looked for in one go when the earliest may have come. Most tasks end long before
  /// theirs, so that a sorted queue would mostly hold those of the dead.
  func ringAlarms() {
    let now = Instant.now
    guard now >= nextAlarm else { return }
    nextAlarm = .distantFuture
    var due: [ExchangeTask] = []
    for task in live {
      let alarm = min(task.alarm, task.deadline)
      if alarm <= now { due.append(task) } else { nextAlarm = min(nextAlarm, alarm) }
    }
    for task in due where !task.hasEnded { ring(task, now) }
  }

  func ring(_ task: ExchangeTask, _ now: Instant) {
    guard now < task.deadline else { return expire(task) }
    switch task.phase {
    case .backingOff:
      task.phase = .awaitingBudget
      setAlarm(.distantFuture, of: task)
      awaitingBudget.append(task)
    case .running(let transfer, var watch):
      let finding = watch.check(transfer.sample, now: now)
      task.phase = .running(transfer, watch)
      if finding == .fine { hedgeIfSlow(task, transfer, now: now) }
      setAlarm(nextCheck(at: task, transfer, watch, now: now), of: task)
      giveUp(task, transfer, watch, finding)
    case .heldUp:
      task.phase = .queued
      setAlarm(.distantFuture, of: task)
      task.limitTimeAtQueue = limitTime(now)
      ready.append(task)
    case .queued, .awaitingBudget, .ended:
      setAlarm(.distantFuture, of: task)
    }
  }

  func giveUp(
    _ task: ExchangeTask, _ transfer: Transfer, _ watch: ProgressWatch,
    _ finding: ProgressWatch.Finding
  ) {
    switch finding {
    case .fine: return
    case .firstByteTimedOut:
      if goesOnWithHedge(task, now: .now) { return }
      // It counts as the wait that it was: where all have become slow, the limit follows.
      waits.answered(task.size, after: .now - transfer.startedAt)
      let limit = watch.firstByteTimeout.seconds
      endAttempt(task, transfer, transfer.outcome(.firstByteTimedOut, "no response for \(limit) s"))
    case .stalled:
      let limit = watch.stallTimeout.seconds
      endAttempt(
        task, transfer, transfer.outcome(.stalled, "no data received for \(limit) s"))
    }
  }

  private static let young = Duration.seconds(1)

  /// The deadline has come. An exchange without a cause yet is asked once more, because it alone can
  /// name store and key.
  func expire(_ task: ExchangeTask) {
    let outcome: AttemptOutcome
    if case .running(let transfer, _) = task.phase {
      outcome = transfer.outcomeAtDeadline
      // One that had only begun says nothing: what ended those before it does.
      let isYoung = Instant.now - transfer.startedAt < Self.young
      endHedge(of: task)
      release(transfer)
      task.phase = .queued
      if isYoung, let cause = task.ledger.causeAtDeadline { return end(task, .failure(cause)) }
    } else if case .heldUp(let cause) = task.phase {
      return end(task, .failure(cause))
    } else if let cause = task.ledger.causeAtDeadline {
      return end(task, .failure(cause))
    } else {
      let failure = TransferFailure(.other, detail: queueDetail(of: task))
      outcome = .transferFailed(failure, wasStreaming: false)
    }
    end(task, lastWord(of: task, on: outcome).mapError(RetryState.timedOut))
  }

  /// What kept a request from being sent up to its deadline.
  private func queueDetail(of task: ExchangeTask) -> String {
    let held = limitTime(.now) - task.limitTimeAtQueue
    if held > .milliseconds(500) {
      return "held back by --max-bandwidth or --max-requests-per-second for "
        + "\(Int(held.seconds)) s: raise it"
    }
    return "queued behind \(configuration.maxConcurrentTransfers) requests in flight"
  }
}
