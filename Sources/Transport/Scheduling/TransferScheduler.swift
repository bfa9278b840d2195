import DequeModule
import ObjectStore
import Posix

/// When each exchange sends a request, and what becomes of it: queue, admission, retries, hedges, alarms.
///
/// A value without clock, callback or handle: each event is one method that is given the time and returns what to do.
/// `TransferLoop` acts on that and reports what came of it. The life of an exchange:
///
///     start -> queued -> admit -> sent -> released -> judged -> remove
///               ^  ^       |                            |
///               |  |    waiting (for credentials)       v
///               |  +-------+               backingOff, awaitingBudget
///               +------------------------------------+
///
/// Alarms and deadlines are in TransferScheduler+Alarms.swift.
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

  /// Requests that may be in flight now.
  var concurrencyLimit: Int { concurrency.limit }

  /// The number of the attempt that is made now, or made next: 0, 1, ...
  func attempt(of id: ExchangeID) -> Int { entries[id]?.retry.attempt ?? 0 }

  /// Why its last attempt failed.
  func lastCause(of id: ExchangeID) -> StoreError? { entries[id]?.retry.lastCause }

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
    trim(\.ready)
    trim(\.awaitingBudget)
    trim(\.waiting)
  }

  /// Exchanges that ended while they waited stay in their queue until it is their turn; they must not pile up
  /// before that.
  private mutating func trim(_ queue: WritableKeyPath<Self, Deque<ExchangeID>>) {
    guard self[keyPath: queue].count > 2 * entries.count + 64 else { return }
    let entries = entries
    self[keyPath: queue].removeAll { entries[$0] == nil }
  }

  /// `first`: ahead of the others, as one that has had its turn.
  mutating func enqueue(_ id: ExchangeID, first: Bool = false, now: Instant) {
    entries[id]?.phase = .queued
    entries[id]?.heldTimeAtQueue = limiter.heldTime(now)
    setAlarm(.distantFuture, of: id)
    if first { ready.prepend(id) } else { ready.append(id) }
  }

  // MARK: Admission

  /// Before a round of `admit`: what the retry budget allows joins the queue.
  mutating func beginAdmission(now: Instant) {
    while let id = awaitingBudget.first {
      guard let entry = entries[id], entry.phase == .awaitingBudget else {
        awaitingBudget.removeFirst()
        continue
      }
      guard budget.withdraw(entry.retry.lastCost, now: now) else { break }
      awaitingBudget.removeFirst()
      enqueue(id, first: true, now: now)
    }
    nextAdmission = .distantFuture
    limiter.endHolding(now)
  }

  /// Which exchange goes next; to be called until it returns `.idle`. `isAwaited`: a reader waits for it now.
  mutating func admit(now: Instant, isAwaited: (ExchangeID) -> Bool) -> TransferAdmission {
    while running < concurrency.limit, let id = ready.first {
      guard entries[id]?.phase == .queued else {
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
    ready.firstIndex { entries[$0]?.phase == .queued && isAwaited($0) }
  }

  /// Less is the clock's own noise.
  private static let leastHeld = Duration.microseconds(100)

  private mutating func begin(_ id: ExchangeID, now: Instant) -> TransferAdmission {
    guard let entry = entries[id], now < entry.plan.deadline else { return .expire(id) }
    let held = limiter.heldTime(now) - entry.heldTimeAtQueue
    entries[id]?.phase = .starting
    entries[id]?.sentAt = now
    return .begin(id, attempt: entry.retry.attempt, held: held > Self.leastHeld ? held : nil)
  }

  // MARK: What came of an admission

  /// Its request is on the wire as `transfer`, since `startedAt`, and requests so many bytes (0: unknown).
  mutating func sent(
    _ id: ExchangeID, _ transfer: TransferID, startedAt: Instant, bytes: Int, now: Instant
  ) {
    countRequest(of: id, bytes: bytes, now: now)
    guard let entry = entries[id] else { return }
    let race = TransferRace(
      TransferRace.Leg(id: transfer, startedAt: startedAt), watch: patience.watch(entry, now: now))
    entries[id]?.phase = .running
    entries[id]?.race = race
    setAlarm(patience.nextCheck(entry, race, now: now) { true }, of: id)
  }

  /// The hedge that an alarm wanted is on the wire.
  mutating func hedgeSent(
    _ id: ExchangeID, _ transfer: TransferID, startedAt: Instant, bytes: Int, now: Instant
  ) {
    countRequest(of: id, bytes: bytes, now: now)
    entries[id]?.race?.add(hedge: TransferRace.Leg(id: transfer, startedAt: startedAt))
    hedged.append(id)
  }

  private mutating func countRequest(of id: ExchangeID, bytes: Int, now: Instant) {
    entries[id]?.size = TTFBTracker.SizeClass(bytes: bytes)
    patience.requested()
    limiter.sent(expecting: bytes, now: now)
    running += 1
  }

  /// The exchange has no request to make before `signal` comes; `cause` is its error if that is not by its deadline.
  mutating func wait(_ id: ExchangeID, for signal: ObjectIdentifier, cause: StoreError) {
    entries[id]?.phase = .waiting(signal, cause)
    setAlarm(.distantFuture, of: id)
    waiting.append(id)
  }

  /// Those that wait for `signal` are queued again, in the order in which they came.
  mutating func signalled(_ signal: ObjectIdentifier, now: Instant) {
    let before = waiting
    waiting = []
    for id in before {
      guard case .waiting(let awaited, _)? = entries[id]?.phase else { continue }
      if awaited == signal { enqueue(id, now: now) } else { waiting.append(id) }
    }
  }

  // MARK: Transfers

  /// The head of a response. False: it is not listened to (`TransferRace.claim`).
  mutating func headArrived(_ transfer: TransferID, of id: ExchangeID, status: Int) -> Bool {
    entries[id]?.race?.claim(transfer, status: status) ?? false
  }

  /// A transfer that was answered later than the other of its attempt: to be released. Nil: there is none (left).
  mutating func nextLoser() -> (id: ExchangeID, transfer: TransferID, hedgeWon: Bool)? {
    var index = 0
    while index < hedged.count {
      let id = hedged[index]
      if let loser = entries[id]?.race?.dropLoser() {
        hedged.remove(at: index)
        return (id, loser.transfer, loser.hedgeWon)
      }
      if entries[id]?.race?.hedge == nil { hedged.remove(at: index) } else { index += 1 }
    }
    return nil
  }

  /// A transfer has ended. True: it is to be released, and the attempt goes on with the other. `dropped`: the status
  /// of a response that was not listened to.
  mutating func transferEnded(
    _ transfer: TransferID, of id: ExchangeID, dropped: Int?, startedAt: Instant, now: Instant
  ) -> Bool {
    guard entries[id]?.race?.ended(transfer) == true else { return false }
    if dropped == 429 || dropped == 503 {
      patience.throttled(now: now)
      concurrency.throttled(running: running, sentAt: startedAt, now: now)
    }
    return true
  }

  /// The transfers of an exchange, to be released: the attempt is over.
  mutating func detachTransfers(of id: ExchangeID) -> (first: TransferID, hedge: TransferID?)? {
    guard let race = entries[id]?.race else { return nil }
    entries[id]?.race = nil
    entries[id]?.phase = .ending
    return (race.first.id, race.hedge?.id)
  }

  /// A transfer is taken off the wire.
  mutating func released(
    _ report: TransferReport, of id: ExchangeID, now: Instant
  ) -> OutageWatch.Change? {
    var change: OutageWatch.Change?
    if let answered = report.answeredAt {
      patience.answered(entries[id]?.size ?? .unknown, after: answered - report.startedAt)
      if report.isSuccess {
        change = outage.responded(now: now)
        concurrency.succeeded(running: running)
      }
    }
    limiter.received(report.received, expected: report.expected)
    running -= 1
    return change
  }

  /// What the exchange makes of its attempt, or of there having been none. `madeProgress`: bytes were streamed.
  mutating func judged(
    _ id: ExchangeID, _ verdict: Verdict, madeProgress: Bool, origin: String, now: Instant
  ) -> (next: RetryState.Next, outage: OutageWatch.Change?) {
    guard let entry = entries[id] else { return (.repeatNow, nil) }
    if case .retry(_, isThrottle: true, _) = verdict {
      patience.throttled(now: now)
      concurrency.throttled(running: running + 1, sentAt: entry.sentAt, now: now)
    }
    // By what was known before this failure: one object that fails is no outage.
    let waits = configuration.waitsWhileAway && outage.isAway(now: now)
    let change = outage.judged(verdict, startedAt: entry.sentAt, now: now)
    let next =
      entries[id]?.retry.ended(
        verdict, madeProgress: madeProgress, waitsForStore: waits, origin: origin, now: now,
        random: &random) ?? .repeatNow
    switch next {
    case .finish: break
    case .repeatNow: enqueue(id, first: true, now: now)
    case .retry(let instant, _):
      entries[id]?.phase = .backingOff
      setAlarm(instant, of: id)
    }
    return (next, change)
  }
}
