import ObjectStore
import Posix
import Testing

@testable import Transport

/// The scheduler alone: queue, admission, retries, hedges and alarms by the thousand seeds, without a socket.
@Suite struct TransferSchedulerTests {
  @Test(arguments: 0..<8)
  func everyExchangeEndsOnceAndInTimeWhateverTheStoreDoes(part: UInt64) {
    for seed in (part * 100)..<((part + 1) * 100) {
      var random = SeededGenerator(seed: seed)
      var model = SchedulerModel(seed: seed, store: .any(&random))
      model.run()
      #expect(model.violations.isEmpty, "seed \(seed)")
    }
  }

  @Test func aCalmStoreIsRequestedOnceForEachExchange() {
    for seed in 0..<20 as Range<UInt64> {
      var model = SchedulerModel(seed: seed, store: .calm)
      model.run()
      #expect(model.violations.isEmpty, "seed \(seed)")
      #expect(model.counts.succeeded == 150 && model.counts.sent == 150, "seed \(seed)")
    }
  }

  @Test func aSlowServerIsHedgedAndTheHedgeMostlyWins() {
    var counts = SchedulerCounts()
    for seed in 0..<50 as Range<UInt64> {
      var store = ModelledStore.calm
      store.slowShare = 0.05
      store.startShare = 0.3
      store.deadlines = 5000...20_000
      var model = SchedulerModel(seed: seed, store: store, exchanges: 400)
      model.run()
      #expect(model.violations.isEmpty, "seed \(seed)")
      #expect(model.counts.succeeded == 400, "seed \(seed)")
      counts.hedges += model.counts.hedges
      counts.hedgesWon += model.counts.hedgesWon
    }
    #expect(counts.hedges >= 50 && counts.hedgesWon * 2 > counts.hedges)
  }

  @Test func theSameSeedDoesTheSame() {
    for seed in 0..<10 as Range<UInt64> {
      let traces = (0..<2).map { _ in
        var random = SeededGenerator(seed: seed)
        var model = SchedulerModel(seed: seed, store: .any(&random))
        model.run()
        return model.trace
      }
      #expect(traces[0] == traces[1] && !traces[0].isEmpty, "seed \(seed)")
    }
  }

  /// A loop that does not do what it was told is found by the checks that the scheduler is held against.
  @Test(arguments: SchedulerModel.Defect.allCases)
  func aPlantedDefectIsFound(defect: SchedulerModel.Defect) {
    let isFound = (0..<200 as Range<UInt64>).contains { seed in
      var random = SeededGenerator(seed: seed)
      var model = SchedulerModel(seed: seed, store: .any(&random), defect: defect)
      model.run()
      return !model.violations.isEmpty
    }
    #expect(isFound)
  }

  // MARK: Single events

  private let start = Instant(nanoseconds: 1_000_000_000)
  private let error = StoreError(.unreachable, store: "model", detail: "gone")

  private func scheduler(
    _ change: (inout TransportConfiguration) -> Void = { _ in }
  ) -> TransferScheduler {
    TransferScheduler(configuration: limits(change), seed: 1, now: start)
  }

  private func plan(_ seconds: Int) -> ScheduledExchange.Plan {
    ScheduledExchange.Plan(
      deadline: start + .seconds(seconds), limits: TransportConfiguration().exchangeLimits)
  }

  /// Admits all that may go, and returns them in order.
  private func admitted(_ scheduler: inout TransferScheduler, _ now: Instant) -> [ExchangeID] {
    var ids: [ExchangeID] = []
    scheduler.beginAdmission(now: now)
    while case .begin(let id, _, _) = scheduler.admit(now: now, isAwaited: { _ in true }) {
      ids.append(id)
    }
    return ids
  }

  @Test func exchangesThatWaitForASignalGoInTheOrderInWhichTheyCame() {
    var scheduler = scheduler()
    let (renewed, other) = (ReadinessSignal(), ReadinessSignal())
    let ids = (0..<4).map { _ in scheduler.start(plan(30), now: start) }
    let first = admitted(&scheduler, start)
    #expect(first == ids)
    for (index, id) in ids.enumerated() {
      let signal = index == 2 ? other : renewed
      scheduler.wait(id, for: ObjectIdentifier(signal), cause: error)
    }
    let none = admitted(&scheduler, start + .seconds(1))
    #expect(none.isEmpty && scheduler.nextWakeUp() == start + .seconds(30))
    scheduler.signalled(ObjectIdentifier(renewed), now: start + .seconds(2))
    let woken = admitted(&scheduler, start + .seconds(2))
    #expect(woken == [ids[0], ids[1], ids[3]])
    scheduler.signalled(ObjectIdentifier(renewed), now: start + .seconds(3))
    scheduler.signalled(ObjectIdentifier(other), now: start + .seconds(3))
    let last = admitted(&scheduler, start + .seconds(3))
    #expect(last == [ids[2]])
  }

  @Test func whatStillWaitsForASignalAtItsDeadlineEndsWithItsCause() {
    var scheduler = scheduler()
    let id = scheduler.start(plan(5), now: start)
    _ = admitted(&scheduler, start)
    scheduler.wait(id, for: ObjectIdentifier(ReadinessSignal()), cause: error)
    let now = start + .seconds(5)
    let due = scheduler.due(now: now)
    #expect(due == [id])
    let alarm = scheduler.ring(
      id, now: now, sample: { _ in .nothing }, isAwaited: { _ in true })
    #expect(alarm == .expire && scheduler.expire(id, now: now) == .fail(error))
  }

  /// Exchanges that are cancelled behind one that takes its time must not pile up.
  @Test func queuesForgetWhatHasEnded() {
    var scheduler = scheduler { $0.maxConcurrentTransfers = 1 }
    let first = scheduler.start(plan(30), now: start)
    _ = admitted(&scheduler, start)
    scheduler.sent(first, TransferID(number: 1), startedAt: start, bytes: 0, now: start)
    let last = scheduler.start(plan(30), now: start)
    for _ in 0..<10_000 {
      let id = scheduler.start(plan(30), now: start)
      scheduler.remove(id, succeeded: false)
    }
    #expect(scheduler.ready.count < 200 && scheduler.entries.count == 2)
    scheduler.remove(first, succeeded: false)
    scheduler.running = 0
    let admitted = admitted(&scheduler, start)
    #expect(admitted == [last])
  }

  @Test func anEndedIdIsNobodys() {
    var table = SlotTable<Int>()
    var random = SeededGenerator(seed: 3)
    var known: [ExchangeID: Int] = [:]
    var ended: [ExchangeID] = []
    for step in 0..<20_000 {
      if known.isEmpty || Bool.random(using: &random) {
        let id = table.insert(step)
        #expect(known[id] == nil && !ended.suffix(50).contains(id))
        known[id] = step
      } else if let id = table.ids.randomElement(using: &random) {
        let value = table.remove(id)
        #expect(value == known.removeValue(forKey: id))
        ended.append(id)
      }
      if let id = ended.randomElement(using: &random) {
        let again = table.remove(id)
        #expect(table[id] == nil && again == nil)
      }
    }
    #expect(Set(table.ids) == Set(known.keys) && table.count == known.count)
    for (id, value) in known { #expect(table[id] == value) }
    for (id, value) in zip(table.ids, table.values) { #expect(known[id] == value) }
  }
}
