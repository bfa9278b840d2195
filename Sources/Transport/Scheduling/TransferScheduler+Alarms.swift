import ObjectStore
import Posix

/// Alarms: the ends of back-offs, the checks of running transfers, hedges, and deadlines.
extension TransferScheduler {
  /// `index`: of the exchange in `entries`.
  mutating func setAlarm(_ instant: Instant, at index: Int) {
    entries.values[index].alarm = instant
    nextAlarm = min(nextAlarm, entries.values[index].nextAlarm)
  }

  /// When there is something to do that no event brings.
  func nextWakeUp() -> Instant {
    var instant = min(nextAlarm, nextAdmission, outage.nextCheck)
    if let first = awaitingBudget.first {
      instant = min(instant, budget.available(entries.lastCost(of: first)))
    }
    return instant
  }

  /// Those whose alarm or deadline has come: `ring` says what to do of each.
  ///
  /// They are looked for in one go when the earliest may have come. Most exchanges end long before their alarm, so
  /// that a sorted queue would mostly hold those of the dead.
  mutating func due(now: Instant) -> [ExchangeID] {
    guard now >= nextAlarm else { return [] }
    nextAlarm = .distantFuture
    var due: [ExchangeID] = []
    for index in entries.values.indices {
      let alarm = entries.values[index].nextAlarm
      if alarm <= now { due.append(entries.ids[index]) } else { nextAlarm = min(nextAlarm, alarm) }
    }
    return due
  }

  /// An alarm that was due. `sample`: how far a transfer is; `isAwaited`: a reader waits for the exchange now.
  mutating func ring(
    _ id: ExchangeID, now: Instant, sample: (TransferID) -> ProgressWatch.Sample,
    isAwaited: (ExchangeID) -> Bool
  ) -> TransferAlarm {
    guard let index = entries.index(of: id) else { return .nothing }
    guard now < entries.values[index].plan.deadline else { return .expire }
    switch entries.values[index].phase {
    case .backingOff:
      entries.values[index].phase = .awaitingBudget
      setAlarm(.distantFuture, at: index)
      awaitingBudget.append(id)
      return .nothing
    case .running:
      guard var race = entries.values[index].race else { return .nothing }
      let finding = race.watch.check(sample(race.first.id), now: now)
      entries.values[index].race = race
      let hedges = finding == .fine && hedges(at: index, race, now: now) { isAwaited(id) }
      let next =
        hedges
        ? now + race.watch.interval
        : patience.nextCheck(entries.values[index], race, now: now) { isAwaited(id) }
      setAlarm(next, at: index)
      if hedges { return .hedge(race.first.id, attempt: entries.values[index].retry.attempt) }
      return end(index, race, finding, now: now)
    case .queued, .starting, .waiting, .ending, .awaitingBudget:
      setAlarm(.distantFuture, at: index)
      return .nothing
    }
  }

  private mutating func end(
    _ index: Int, _ race: TransferRace, _ finding: ProgressWatch.Finding, now: Instant
  ) -> TransferAlarm {
    switch finding {
    case .fine: return .nothing
    case .firstByteTimedOut:
      var race = race
      if let first = race.replaceFirst() {
        race.watch = patience.watch(entries.values[index], now: now)
        entries.values[index].race = race
        setAlarm(now + race.watch.interval, at: index)
        return .release(first)
      }
      // It counts as the wait that it was: where all have become slow, the limit follows.
      patience.answered(entries.values[index].size, after: now - race.first.startedAt)
      return .giveUp(race.first.id, .firstByteTimedOut, after: race.watch.firstByteTimeout)
    case .stalled: return .giveUp(race.first.id, .stalled, after: race.watch.stallTimeout)
    }
  }

  /// How an exchange ends whose deadline has come; nil: it has ended.
  func expire(_ id: ExchangeID, now: Instant) -> TransferExpiry? {
    entries.index(of: id).map { index in
      entries.values[index].expiry(
        now: now, heldTime: limiter.heldTime(now),
        requestsMax: configuration.maxConcurrentTransfers)
    }
  }

  /// Whether a hedged request is sent now; its price is then withdrawn.
  private mutating func hedges(
    at index: Int, _ race: TransferRace, now: Instant, isAwaited: () -> Bool
  ) -> Bool {
    guard let slow = patience.slowFrom(entries.values[index], race), now >= slow, isAwaited(),
      running < concurrency.limit,
      // A hedged request is not worth a debt of the limits that the user set.
      limiter.earliest(isAwaited: true, now: now) <= now
    else { return false }
    return patience.withdrawHedge(now: now)
  }

  // MARK: Outages

  /// Once a round of the loop. `isAnswered`: that transfer has a good response since then, though it has not ended.
  mutating func checkOutage(
    now: Instant, isAnswered: (TransferID, _ since: Instant) -> Bool
  ) -> OutageWatch.Change? {
    let entries = entries
    return outage.check(now: now, isIdle: entries.count == 0) { since in
      entries.values.contains { $0.race.map { isAnswered($0.first.id, since) } ?? false }
    }
  }
}
