import DequeModule
import ObjectStore
import Posix

/// When each exchange sends a request, and what becomes of it: queue, admission, retries, hedges, alarms.
///
/// A value without clock, callback or handle: each event is one method that is given the time and returns what to do.
/// `TransferLoop` acts on that and reports what came of it. The life of an exchange, but for alarms and deadlines
/// (TransferScheduler+Alarms.swift):
///
///     start -> queued -> admit -> sent -> released -> judged -> remove
///               ^  ^       |                            |
///               |  |    waiting (for credentials)       v
///               |  +-------+               backingOff, awaitingBudget
///               +------------------------------------+
struct TransferScheduler: Sendable {
  let configuration: TransportConfiguration
  var entries = SlotTable<ScheduledExchange>()
  var ready: Deque<ExchangeID> = []
  /// Retries that wait for the budget, in the order in which their back-off ended.
  var awaitingBudget: Deque<ExchangeID> = []
  /// In the order in which they began to wait for a signal.
  var waiting: Deque<ExchangeID> = []
  /// Those with two requests on the wire.
  var hedged: [ExchangeID] = []
  /// Requests on the wire, hedges included.
  var running = 0
  /// No alarm or deadline is earlier.
  var nextAlarm = Instant.distantFuture
  /// When the rate limits let the next request go.
  var nextAdmission = Instant.distantFuture
  var budget: RetryBudget
  var patience: ResponsePatience
  var concurrency: ConcurrencyLimit
  var limiter: RateLimiter
  var outage: OutageWatch
  var random: SeededGenerator

  init(configuration: TransportConfiguration, seed: UInt64, now: Instant) {
    self.configuration = configuration
    budget = RetryBudget(now: now)
    concurrency = ConcurrencyLimit(most: configuration.maxConcurrentTransfers)
    limiter = RateLimiter(
      requestsPerSecond: configuration.maxRequestsPerSecond,
      bytesPerSecond: configuration.maxBytesPerSecond, now: now)
    patience = ResponsePatience(configuration)
    outage = OutageWatch(interval: configuration.namesOutageAfter)
    random = SeededGenerator(seed: seed)
  }

  // MARK: Life

  mutating func start(_ plan: ScheduledExchange.Plan, now: Instant) -> ExchangeID {
    let id = entries.insert(ScheduledExchange(plan))
    enqueue(id, now: now)
    return id
  }

  /// The exchange has ended. Its transfers were detached and released before.
  mutating func remove(_ id: ExchangeID, succeeded: Bool) {
    guard let entry = entries.remove(id) else { return }
    if succeeded { budget.succeeded(cost: entry.retry.lastCost) }
    ready.dropEnded(entries)
    awaitingBudget.dropEnded(entries)
    waiting.dropEnded(entries)
  }

  /// `first`: ahead of the others, as one that has had its turn.
  mutating func enqueue(_ id: ExchangeID, first: Bool = false, now: Instant) {
    guard let index = entries.index(of: id) else { return }
    entries.values[index].phase = .queued
    entries.values[index].heldTimeAtQueue = limiter.heldTime(now)
    setAlarm(.distantFuture, at: index)
    if first { ready.prepend(id) } else { ready.append(id) }
  }

  // MARK: Admission

  /// Before a round of `admit`: what the retry budget allows joins the queue.
  mutating func beginAdmission(now: Instant) {
    while let id = awaitingBudget.first {
      guard entries.phase(of: id) == .awaitingBudget else {
        awaitingBudget.removeFirst()
        continue
      }
      guard budget.withdraw(entries.lastCost(of: id), now: now) else { break }
      awaitingBudget.removeFirst()
      enqueue(id, first: true, now: now)
    }
    nextAdmission = .distantFuture
    limiter.endHolding(now)
  }

  /// Which exchange goes next; to be called until it returns `.idle`. `isAwaited`: a reader waits for it now.
  mutating func admit(now: Instant, isAwaited: (ExchangeID) -> Bool) -> TransferAdmission {
    while running < concurrency.limit, let id = ready.first {
      guard entries.phase(of: id) == .queued else {
        ready.removeFirst()
        continue
      }
      let start = limiter.earliest(isAwaited: isAwaited(id), now: now)
      if start <= now {
        ready.removeFirst()
        return begin(id, now: now)
      }
      let awaited = firstAwaited(isAwaited)
      let mayDemand = limiter.earliest(isAwaited: true, now: now) <= now
      if mayDemand, let awaited {
        // A prefetch must wait. A request that has a waiter need not, and is queued behind it.
        return begin(ready.remove(at: awaited), now: now)
      }
      nextAdmission = start
      limiter.beginHolding(now)
      return .idle(limitsHoldAll: !mayDemand && awaited != nil)
    }
    return .idle(limitsHoldAll: false)
  }

  private func firstAwaited(_ isAwaited: (ExchangeID) -> Bool) -> Int? {
    ready.firstIndex { entries.phase(of: $0) == .queued && isAwaited($0) }
  }

  /// Less is the clock's own noise.
  private static let leastHeld = Duration.microseconds(100)

  private mutating func begin(_ id: ExchangeID, now: Instant) -> TransferAdmission {
    guard let index = entries.index(of: id), now < entries.values[index].plan.deadline else {
      return .expire(id)
    }
    let held = limiter.heldTime(now) - entries.values[index].heldTimeAtQueue
    entries.values[index].phase = .starting
    entries.values[index].sentAt = now
    return .begin(
      id, attempt: entries.values[index].retry.attempt, held: held > Self.leastHeld ? held : nil)
  }

  // MARK: What came of an admission

  /// Its request is on the wire as `transfer`, since `startedAt`, and requests so many bytes (0: unknown).
  mutating func sent(
    _ id: ExchangeID, _ transfer: TransferID, startedAt: Instant, bytes: Int, now: Instant
  ) {
    guard let index = countRequest(of: id, bytes: bytes, now: now) else { return }
    let race = TransferRace(
      TransferRace.Leg(id: transfer, startedAt: startedAt),
      watch: patience.watch(entries.values[index], now: now))
    entries.values[index].phase = .running
    entries.values[index].race = race
    setAlarm(patience.nextCheck(entries.values[index], race, now: now) { true }, at: index)
  }

  /// The hedge that an alarm wanted is on the wire.
  mutating func hedgeSent(
    _ id: ExchangeID, _ transfer: TransferID, startedAt: Instant, bytes: Int, now: Instant
  ) {
    guard let index = countRequest(of: id, bytes: bytes, now: now) else { return }
    entries.values[index].race?.add(
      hedge: TransferRace.Leg(id: transfer, startedAt: startedAt))
    hedged.append(id)
  }

  private mutating func countRequest(of id: ExchangeID, bytes: Int, now: Instant) -> Int? {
    patience.requested()
    limiter.sent(expecting: bytes, now: now)
    running += 1
    let index = entries.index(of: id)
    if let index { entries.values[index].size = TTFBTracker.SizeClass(bytes: bytes) }
    return index
  }

  /// The exchange has no request to make before `signal` comes; `cause` is its error if that is not by its deadline.
  mutating func wait(_ id: ExchangeID, for signal: ObjectIdentifier, cause: StoreError) {
    guard let index = entries.index(of: id) else { return }
    entries.values[index].phase = .waiting(signal, cause)
    setAlarm(.distantFuture, at: index)
    waiting.append(id)
  }

  /// Those that wait for `signal` are queued again, in the order in which they came.
  mutating func signalled(_ signal: ObjectIdentifier, now: Instant) {
    let before = waiting
    waiting = []
    for id in before {
      guard case .waiting(let awaited, _) = entries.phase(of: id) else { continue }
      if awaited == signal { enqueue(id, now: now) } else { waiting.append(id) }
    }
  }

  // MARK: Transfers

  /// The head of a response. False: it is not listened to (`TransferRace.claim`).
  mutating func headArrived(_ transfer: TransferID, of id: ExchangeID, status: Int) -> Bool {
    guard let index = entries.index(of: id) else { return false }
    return entries.values[index].race?.claim(transfer, status: status) ?? false
  }

  /// A transfer that was answered later than the other of its attempt: to be released. Nil: there is none (left).
  mutating func nextLoser() -> (id: ExchangeID, transfer: TransferID, hedgeWon: Bool)? {
    var place = 0
    while place < hedged.count {
      let id = hedged[place]
      let index = entries.index(of: id)
      if let index, let loser = entries.values[index].race?.dropLoser() {
        hedged.remove(at: place)
        return (id, loser.transfer, loser.hedgeWon)
      }
      let goesOn = index.map { entries.values[$0].race?.hedge != nil } ?? false
      if goesOn { place += 1 } else { hedged.remove(at: place) }
    }
    return nil
  }

  /// A transfer has ended. True: it is to be released, and the attempt goes on with the other. `dropped`: the status
  /// of a response that was not listened to.
  mutating func transferEnded(
    _ transfer: TransferID, of id: ExchangeID, dropped: Int?, startedAt: Instant, now: Instant
  ) -> Bool {
    guard let index = entries.index(of: id), entries.values[index].race?.ended(transfer) == true
    else { return false }
    if dropped == 429 || dropped == 503 {
      patience.throttled(now: now)
      concurrency.throttled(running: running, sentAt: startedAt, now: now)
    }
    return true
  }

  /// The transfers of an exchange, to be released: the attempt is over.
  mutating func detachTransfers(of id: ExchangeID) -> (first: TransferID, hedge: TransferID?)? {
    guard let index = entries.index(of: id), let race = entries.values[index].race else {
      return nil
    }
    entries.values[index].race = nil
    entries.values[index].phase = .ending
    return (race.first.id, race.hedge?.id)
  }

  /// A transfer is taken off the wire.
  mutating func released(
    _ report: TransferReport, of id: ExchangeID, now: Instant
  ) -> OutageWatch.Change? {
    var change: OutageWatch.Change?
    if let answered = report.answeredAt {
      let size = entries.index(of: id).map { entries.values[$0].size } ?? .unknown
      patience.answered(size, after: answered - report.startedAt)
      if report.isSuccess {
        change = outage.responded(now: now)
        concurrency.succeeded(running: running)
      }
    }
    limiter.received(report.received, expected: report.expected)
    running -= 1
    return change
  }

  /// What the exchange makes of its attempt, or of there having been none. `madeProgress`: bytes were streamed. Returns
  /// the number of the attempt as well, counted from 1.
  mutating func judged(
    _ id: ExchangeID, _ verdict: Verdict, madeProgress: Bool, origin: String, now: Instant
  ) -> (next: RetryState.Next, attempt: Int, outage: OutageWatch.Change?) {
    guard let index = entries.index(of: id) else { return (.repeatNow, 0, nil) }
    let sentAt = entries.values[index].sentAt
    if case .retry(_, isThrottle: true, _) = verdict {
      patience.throttled(now: now)
      concurrency.throttled(running: running + 1, sentAt: sentAt, now: now)
    }
    // By what was known before this failure: one object that fails is no outage.
    let waits = configuration.waitsWhileAway && outage.isAway(now: now)
    let change = outage.judged(verdict, startedAt: sentAt, now: now)
    let next = entries.values[index].retry.ended(
      verdict, madeProgress: madeProgress, waitsForStore: waits, origin: origin, now: now,
      random: &random)
    switch next {
    case .finish: break
    case .repeatNow: enqueue(id, first: true, now: now)
    case .retry(let instant, _):
      entries.values[index].phase = .backingOff
      setAlarm(instant, at: index)
    }
    return (next, entries.values[index].retry.attempt, change)
  }
}
