import ObjectStore
import Posix

@testable import Transport

/// An exchange as the model of the loop remembers it, to check what the scheduler wants of it.
struct ModelledExchange {
  enum State: Equatable {
    /// In the queue, behind those that came before.
    case queued
    /// Sent again at once, ahead of those.
    case repeating
    case onWire
    case waiting(ReadinessSignal)
    case backingOff(until: Instant)
  }

  let deadline: Instant
  let mayBeHedged: Bool
  /// Its place in the order of those that were queued.
  var stamp: Int
  var state = State.queued
  /// Attempts that were judged.
  var attempts = 0
  var transfers: [TransferID] = []
  /// The transfer whose response is listened to.
  var heard: TransferID?
  /// Of the retry that it waits for, and of the one that is under way.
  var pendingCost = 0.0
  var lastCost = 0.0

  /// It is in the queue, or would be if the retry budget had let it.
  func isReady(_ now: Instant) -> Bool {
    switch state {
    case .queued, .repeating: true
    case .backingOff(let instant): instant <= now
    case .onWire, .waiting: false
    }
  }

  func problemOfBeginning(_ now: Instant) -> String? {
    if now >= deadline { return "admitted after its deadline" }
    switch state {
    case .onWire: return "admitted while on the wire"
    case .waiting: return "admitted before its signal"
    case .backingOff(let instant) where now < instant: return "admitted in its back-off"
    case .queued, .repeating, .backingOff: return nil
    }
  }

  func problemOfHedging(_ first: TransferID, _ attempt: Int) -> String? {
    if !mayBeHedged { return "hedged though it must not be" }
    if transfers != [first] { return "hedged beside \(transfers.count) transfers" }
    if heard != nil { return "hedged after its response" }
    if attempt != attempts { return "a hedge of another attempt" }
    return nil
  }
}

extension [ExchangeID: ModelledExchange] {
  /// First come, first served, but that a retry goes ahead. `awaited`: with a rate limit, those go ahead which readers
  /// wait for.
  func isOvertaken(by id: ExchangeID, of awaited: Set<ExchangeID>?) -> Bool {
    guard let exchange = self[id], exchange.state == .queued, awaited?.contains(id) ?? true else {
      return false
    }
    return contains { other, known in
      (known.state == .repeating || known.state == .queued && known.stamp < exchange.stamp)
        && awaited?.contains(other) ?? true
    }
  }

  /// The scheduler wants nothing to be sent, and sleeps for so long. `mayRun`: there is a place for another transfer.
  func problems(
    whenIdle idle: (now: Instant, sleep: Duration), holdsAll: Bool, awaited: Set<ExchangeID>,
    isLimited: Bool, mayRun: Bool, budgetIsFull: Bool
  ) -> [String] {
    var (readyAwaited, queued, queuedAwaited, retries) = (false, false, false, false)
    for (id, exchange) in self where exchange.isReady(idle.now) {
      let isQueued = exchange.state == .queued || exchange.state == .repeating
      let isAwaited = awaited.contains(id)
      readyAwaited = readyAwaited || isAwaited
      queued = queued || isQueued
      queuedAwaited = queuedAwaited || isQueued && isAwaited
      retries = retries || exchange.pendingCost > 0
    }
    var problems: [String] = []
    if holdsAll, !isLimited || !readyAwaited {
      problems.append("limits hold back what nobody waits for")
    }
    guard mayRun else { return problems }
    if queued, !isLimited { problems.append("some wait though more may run") }
    if queuedAwaited, !holdsAll { problems.append("a reader waits behind a prefetch") }
    if queued, idle.sleep > .seconds(2) { problems.append("it oversleeps the limits") }
    if retries, !isLimited, budgetIsFull { problems.append("a retry waits beside a full budget") }
    if retries, idle.sleep > .milliseconds(isLimited ? 2000 : 501) {
      problems.append("it oversleeps the retry budget")
    }
    return problems
  }
}

struct ModelledTransfer {
  let exchange: ExchangeID
  let startedAt: Instant
  /// When the head comes; nil: never.
  var headAt: Instant?
  var endsAt: Instant
  var status: Int
  var isBroken: Bool
  var answeredAt: Instant?
  var isDropped = false

  var nextEvent: Instant { answeredAt == nil ? min(headAt ?? endsAt, endsAt) : endsAt }
  var madeProgress: Bool { answeredAt != nil && isBroken && status < 300 }

  func sample(at now: Instant) -> ProgressWatch.Sample {
    // What is answered comes at 1 MiB/s.
    let received = answeredAt.map { 1 + Int((now - $0).nanoseconds / 1000) } ?? 0
    return ProgressWatch.Sample(received: received, sent: 0, requestStarted: startedAt)
  }
}

/// What happened in a run of the model, and whether that is within the budgets.
struct SchedulerCounts: Equatable {
  var sent = 0
  var hedges = 0
  var hedgesWon = 0
  var succeeded = 0
  var timedOut = 0
  var waited = 0
  var retries = 0
  /// Tokens of the budget: what all retries cost, those that were sent, and what successes brought.
  var requested = 0.0
  var spent = 0.0
  var earned = 0.0

  func problems(after time: Duration, _ store: ModelledStore) -> [String] {
    var problems: [String] = []
    if let rate = store.configuration.maxRequestsPerSecond,
      Double(sent) > time.seconds * rate + rate / 10 + 2
    {
      problems.append("more requests than the limit allows")
    }
    if spent > 500 + time.seconds * 28 + earned + 1 { problems.append("retries over the budget") }
    if Double(hedges) > 1 + Double(sent) * HedgePolicy.share + 1e-6 {
      problems.append("hedges over the budget")
    }
    return problems
  }
}
