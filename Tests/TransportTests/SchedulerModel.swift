import ObjectStore
import Posix

@testable import Transport

/// A transfer loop without thread, socket and clock: it drives a `TransferScheduler` through a day with a store of its
/// own making, all by one seed, and checks each thing that the scheduler wants done.
///
/// The checks that need memory are in `ModelledExchange`; what the store does is in `ModelledStore`.
struct SchedulerModel {
  /// What the loop does wrong, to show that the checks find it.
  enum Defect: CaseIterable {
    case losesSignals, forgetsLosers, ringsNoAlarm, releasesNoTransfer, sendsWithoutReport
    case removesNothing
  }

  private(set) var violations: [String] = []
  /// All that was wanted, in order: the same for the same seed.
  private(set) var trace: [String] = []
  var counts = SchedulerCounts()

  let store: ModelledStore
  let defect: Defect?
  var random: SeededGenerator
  var scheduler: TransferScheduler
  let start = Instant(nanoseconds: 1_000_000_000_000)
  var now: Instant
  var exchanges: [ExchangeID: ModelledExchange] = [:]
  /// Those that a reader waits for.
  var awaited: Set<ExchangeID> = []
  var wire: [TransferID: ModelledTransfer] = [:]
  var lastTransfer: UInt64 = 0
  var toStart: Int
  var lastStamp = 0
  /// Signals that were not given yet, and when they will be.
  var signals: [(signal: ReadinessSignal, at: Instant)] = []
  /// Rounds in which the scheduler wanted to be called and then had nothing to do.
  var spins = 0

  init(seed: UInt64, store: ModelledStore, exchanges: Int = 150, defect: Defect? = nil) {
    self.store = store
    self.defect = defect
    random = SeededGenerator(seed: seed)
    now = start
    toStart = exchanges
    scheduler = TransferScheduler(configuration: store.configuration, seed: seed, now: now)
  }

  /// Until every exchange has ended.
  mutating func run() {
    for _ in 0..<100_000 {
      if toStart == 0, exchanges.isEmpty { return checkRound() }
      startSome()
      giveSignals()
      admit()
      guard advance() else { return }
      deliverHeads()
      releaseLosers()
      complete()
      ringAlarms()
      record("outage \(scheduler.checkOutage(now: now) { _, _ in false }.map { "\($0)" } ?? "")")
      checkRound()
      if violations.count > 3 { return }
    }
    fail("it never ends")
  }

  mutating func fail(_ what: String) {
    violations.append("\((now - start).shownInMilliseconds): \(what)")
  }

  mutating func record(_ what: String) {
    if !what.hasSuffix(" ") { trace.append(what) }
  }

  // MARK: Exchanges come and go

  mutating func startSome() {
    while toStart > 0, random.chance(store.startShare) {
      toStart -= 1
      let deadline = now + .milliseconds(Int.random(in: store.deadlines, using: &random))
      let mayBeHedged = random.chance(0.8)
      let id = scheduler.start(
        ScheduledExchange.Plan(
          deadline: deadline, limits: store.configuration.exchangeLimits,
          mayBeHedged: mayBeHedged), now: now)
      if exchanges[id] != nil { fail("an id is used twice") }
      lastStamp += 1
      exchanges[id] = ModelledExchange(
        deadline: deadline, mayBeHedged: mayBeHedged, stamp: lastStamp)
      if random.chance(0.7) { awaited.insert(id) }
    }
    for id in scheduler.entries.ids {
      if random.chance(0.02), awaited.remove(id) == nil { awaited.insert(id) }
      if random.chance(store.cancelShare) { end(id, "cancelled") }
    }
  }

  mutating func end(_ id: ExchangeID, _ how: String) {
    guard let exchange = exchanges[id] else { return fail("an exchange ends twice") }
    record("\(exchange.stamp) ends: \(how)")
    releaseTransfers(of: id)
    if how == "succeeded" {
      counts.succeeded += 1
      counts.earned += exchange.lastCost > 0 ? 2 * exchange.lastCost : 1
    }
    exchanges[id] = nil
    awaited.remove(id)
    if defect != .removesNothing { scheduler.remove(id, succeeded: how == "succeeded") }
  }

  mutating func giveSignals() {
    let due = signals.filter { $0.at <= now }
    signals.removeAll { $0.at <= now }
    for (signal, _) in due {
      let waiters = exchanges.filter { $0.value.state == .waiting(signal) }
        .sorted { $0.value.stamp < $1.value.stamp }
      for (id, _) in waiters {
        lastStamp += 1
        exchanges[id]?.stamp = lastStamp
        exchanges[id]?.state = .queued
      }
      if defect != .losesSignals { scheduler.signalled(ObjectIdentifier(signal), now: now) }
    }
  }

  // MARK: Admission

  mutating func admit() {
    scheduler.beginAdmission(now: now)
    while true {
      let awaited = awaited
      let admission = scheduler.admit(now: now) { awaited.contains($0) }
      switch admission {
      case .begin(let id, let attempt, let held): begin(id, attempt, held)
      case .expire(let id): expire(id)
      case .idle(let holdsAll): return checkIdle(holdsAll)
      }
      spins = 0
    }
  }

  mutating func begin(_ id: ExchangeID, _ attempt: Int, _ held: Duration?) {
    guard var exchange = exchanges[id] else { return fail("an ended exchange is admitted") }
    record("\(exchange.stamp) begins \(attempt)")
    if wire.count >= scheduler.concurrency.limit { fail("more than may run at once") }
    if attempt != exchange.attempts { fail("attempt \(attempt) after \(exchange.attempts)") }
    if held != nil, !store.isLimited { fail("held back without a limit") }
    if let problem = exchange.problemOfBeginning(now) { fail(problem) }
    if exchanges.isOvertaken(by: id, of: store.isLimited ? awaited : nil) {
      fail("\(exchange.stamp) is admitted before its turn")
    }
    if exchange.pendingCost > 0 {
      counts.retries += 1
      counts.spent += exchange.pendingCost
      exchange.lastCost = exchange.pendingCost
      exchange.pendingCost = 0
    }
    exchanges[id] = exchange
    if random.chance(store.waitShare) { return wait(id) }
    if random.chance(store.refusalShare) { return end(id, "has no request") }
    if random.chance(store.refusalShare) { return judge(id, store.failure, false) }
    let transfer = send(id)
    exchanges[id]?.state = .onWire
    if defect == .sendsWithoutReport { return }
    scheduler.sent(id, transfer, startedAt: now, bytes: store.bytes, now: now)
  }

  mutating func wait(_ id: ExchangeID) {
    counts.waited += 1
    let signal: ReadinessSignal
    if let known = signals.last, random.chance(0.7) {
      signal = known.signal
    } else {
      signal = ReadinessSignal()
      signals.append((signal, now + .milliseconds(Int.random(in: 0...3000, using: &random))))
    }
    lastStamp += 1
    exchanges[id]?.stamp = lastStamp
    exchanges[id]?.state = .waiting(signal)
    scheduler.wait(id, for: ObjectIdentifier(signal), cause: store.error)
  }

  mutating func send(_ id: ExchangeID) -> TransferID {
    lastTransfer += 1
    let transfer = TransferID(number: lastTransfer)
    wire[transfer] = store.transfer(of: id, at: now, since: now - start, random: &random)
    exchanges[id]?.transfers.append(transfer)
    counts.sent += 1
    return transfer
  }

  mutating func checkIdle(_ holdsAll: Bool) {
    let problems =
      exchanges.problems(
        whenIdle: (now, sleep: scheduler.nextWakeUp() - now), holdsAll: holdsAll,
        awaited: awaited, isLimited: store.isLimited,
        mayRun: wire.count < scheduler.concurrency.limit, budgetIsFull: counts.requested <= 500)
      + counts.problems(after: now - start, store)
    for problem in problems { fail(problem) }
  }

  // MARK: Time

  /// False: nothing would ever happen again.
  mutating func advance() -> Bool {
    var events = wire.values.map { $0.nextEvent } + signals.map(\.at)
    if toStart > 0 { events.append(now + .milliseconds(Int.random(in: 0...20, using: &random))) }
    let event = events.min() ?? .distantFuture
    let wakeUp = scheduler.nextWakeUp()
    guard min(event, wakeUp) < .distantFuture else {
      if !exchanges.isEmpty { fail("it sleeps for ever beside \(exchanges.count) exchanges") }
      return !exchanges.isEmpty ? false : toStart > 0
    }
    if wakeUp <= now, event > now {
      spins += 1
      if spins > 50 { fail("it spins") }
    } else {
      spins = 0
    }
    now = max(now, min(event, wakeUp)) + .microseconds(Int.random(in: 0...50, using: &random))
    return spins <= 50
  }

  // MARK: Checks

  mutating func checkRound() {
    if scheduler.running != wire.count {
      fail("\(wire.count) on the wire, \(scheduler.running) known")
    }
    if scheduler.entries.count != exchanges.count {
      fail("\(exchanges.count) exchanges, \(scheduler.entries.count) known")
    }
    if exchanges.values.contains(where: { $0.heard != nil && $0.transfers.count > 1 }) {
      fail("two run though one was answered")
    }
    if let late = exchanges.values.first(where: { $0.deadline <= now }) {
      fail("\(late.stamp) is past its deadline: \(late.state)")
    }
  }
}
