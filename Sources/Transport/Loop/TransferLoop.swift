import CCurlShim
import Glibc
import Logging
import Metrics
import ObjectStore
import Posix
import SystemPackage

/// The transport's thread: asks exchanges for requests, puts them on the wire, tells the scheduler what came of them,
/// and does what it says. It decides nothing. Everything in it is touched by that thread alone.
///
/// One loop has its own queue, limits and connections, and other threads reach it by its mailbox only.
final class TransferLoop: @unchecked Sendable {
  let mailbox: Mailbox
  let metrics: StoreMetrics
  let log: Logger
  private let exchangesMax: Int
  var scheduler: TransferScheduler
  let wire: TransferWire
  /// Exchanges that have not ended.
  var tasks = LiveTasks()
  /// The rate limits hold back what readers wait for as well.
  private var limitsHoldAll = false

  init(
    mailbox: Mailbox, configuration: TransportConfiguration, metrics: StoreMetrics, log: Logger,
    seed: UInt64
  ) throws(Errno) {
    self.mailbox = mailbox
    self.metrics = metrics
    self.log = log
    exchangesMax = configuration.maxLiveExchanges
    scheduler = TransferScheduler(configuration: configuration, seed: seed, now: .now)
    wire = try TransferWire(configuration, mailbox: mailbox)
  }

  /// The thread's body; ends after `Mailbox.stop()`.
  func run() {
    blockSignals()
    while true {
      let batch = mailbox.drain()
      accept(batch)
      if batch.isStopping { return endAll() }
      admit()
      wire.run(until: mailbox.prepareToSleep() ? scheduler.nextWakeUp() : Instant(nanoseconds: 0))
      releaseLosers()
      while let (transfer, code) = wire.nextCompleted() { complete(transfer, code) }
      ringAlarms()
      checkOutage()
      wire.closeIdleConnections(isIdle: tasks.count == 0)
    }
  }

  /// Signals are for the threads that expect them; SIGPIPE of a TLS write is for no thread.
  private func blockSignals() {
    var all = sigset_t()
    sigfillset(&all)
    for fault in [SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT] { sigdelset(&all, fault) }
    pthread_sigmask(SIG_BLOCK, &all, nil)
  }

  // MARK: In and out

  private func accept(_ batch: Mailbox.Batch) {
    for task in batch.started { accept(task) }
    for task in batch.refused { refuse(task) }
    for task in batch.cancelled { cancel(task) }
    for signal in batch.signals { scheduler.signalled(signal, now: .now) }
    wire.addresses.lookedUp(batch.lookedUp)
  }

  private func accept(_ task: ExchangeTask) {
    guard let exchange = task.exchange else { return }
    let plan = ScheduledExchange.Plan(
      deadline: task.deadline, limits: task.limits, mayBeHedged: exchange.mayBeHedged)
    tasks.insert(task, scheduler.start(plan, now: .now))
  }

  private func endAll() {
    for task in tasks.all { cancel(task) }
    setLimitsHoldAll(false)
    metrics.health.answers(ObjectIdentifier(self))
    wire.shutDown()
  }

  private func cancel(_ task: ExchangeTask) {
    guard let id = task.id else { return }
    let error = StoreError(.cancelled, store: task.origin, detail: "the request was cancelled")
    end(id, .failure(error))
  }

  private func refuse(_ task: ExchangeTask) {
    let failure = TransferFailure(
      .other, detail: "more than \(exchangesMax) requests are queued")
    let cause = lastWord(of: task, on: .transferFailed(failure, wasStreaming: false))
    metrics.errors.add()
    let exchange = task.exchange.take()
    exchange?.finish(cause)
  }

  /// The one place where an exchange ends; whatever it was doing is ended first.
  func end(_ id: ExchangeID, _ result: Result<Void, StoreError>) {
    guard let task = tasks.remove(id) else { return }
    releaseTransfers(of: id)
    task.id = nil
    mailbox.taskEnded()
    switch result {
    case .success: scheduler.remove(id, succeeded: true)
    case .failure(let error):
      scheduler.remove(id, succeeded: false)
      if error.kind != .cancelled && error.kind != .notFound { metrics.errors.add() }
    }
    let exchange = task.exchange.take()
    exchange?.finish(result)
  }

  /// What the exchange makes of an outcome after which nothing is tried any more.
  private func lastWord(
    of task: ExchangeTask, on outcome: AttemptOutcome
  ) -> Result<Void, StoreError> {
    switch task.exchange?.attemptEnded(outcome) {
    case .succeeded: return .success(())
    case .failed(let error), .retry(let error, _, _): return .failure(error)
    case .again, nil:
      let error = StoreError(.timedOut, store: task.origin, detail: "no response in time")
      return .failure(error)
    }
  }

  // MARK: Admission

  private func admit() {
    scheduler.beginAdmission(now: .now)
    while true {
      switch scheduler.admit(now: .now, isAwaited: { isAwaited($0) }) {
      case .begin(let id, let attempt, let held): begin(id, attempt: attempt, held: held)
      case .expire(let id): expire(id)
      case .idle(let holdsAll): return setLimitsHoldAll(holdsAll)
      }
    }
  }

  func isAwaited(_ id: ExchangeID) -> Bool { tasks[id]?.exchange?.isAwaited == true }

  private func setLimitsHoldAll(_ holdsAll: Bool) {
    guard holdsAll != limitsHoldAll else { return }
    limitsHoldAll = holdsAll
    metrics.limitClock.holds(holdsAll, at: Int64(clamping: Instant.now.nanoseconds))
  }

  // MARK: Alarms

  private func ringAlarms() {
    let now = Instant.now
    for id in scheduler.due(now: now) {
      // Of what went before, one may have ended.
      guard tasks[id] != nil else { continue }
      let alarm = scheduler.ring(
        id, now: now, sample: { wire.transfer($0)?.sample ?? .nothing },
        isAwaited: { isAwaited($0) })
      act(on: alarm, of: id)
    }
  }

  private func act(on alarm: TransferAlarm, of id: ExchangeID) {
    switch alarm {
    case .nothing: break
    case .expire: expire(id)
    case .hedge(let first, let attempt): hedge(id, attempt: attempt, besides: first)
    case .release(let transfer): release(transfer, of: id)
    case .giveUp(let transfer, let kind, let time): giveUp(transfer, of: id, kind, time)
    }
  }

  private func giveUp(
    _ transferID: TransferID, of id: ExchangeID, _ kind: TransferFailure.Kind, _ time: Duration
  ) {
    guard let transfer = wire.transfer(transferID) else { return }
    let detail =
      kind == .stalled
      ? "no data received for \(time.seconds) s" : "no response for \(time.seconds) s"
    endAttempt(of: id, transfer, transfer.outcome(kind, detail))
  }

  /// The deadline has come.
  private func expire(_ id: ExchangeID) {
    guard let task = tasks[id], let expiry = scheduler.expire(id, now: .now) else { return }
    let outcome: AttemptOutcome
    switch expiry {
    case .fail(let error): return end(id, .failure(error))
    case .running(let transfer):
      guard let transfer = wire.transfer(transfer) else { return }
      outcome = transfer.outcomeAtDeadline
      releaseTransfers(of: id)
    case .unsent(let failure): outcome = .transferFailed(failure, wasStreaming: false)
    }
    end(id, lastWord(of: task, on: outcome).mapError(RetryState.timedOut))
  }

  // MARK: Outages

  private func checkOutage() {
    let change = scheduler.checkOutage(now: .now) { transfer, since in
      guard let transfer = wire.transfer(transfer), let answered = transfer.response.answeredAt
      else { return false }
      return answered > since && transfer.response.status.map { $0 < 400 } == true
    }
    publish(change)
  }

  func publish(_ change: OutageWatch.Change?) {
    let own = ObjectIdentifier(self)
    switch change {
    case nil: break
    case .isAway(let since, let cause):
      metrics.health.isAway(
        own, since: Int64(clamping: since.nanoseconds), error: cause.description,
        isThrottled: cause.kind == .throttled)
    case .isOver(let store, let lasted):
      metrics.health.answers(own)
      if let lasted {
        log.notice("\(store): the store responds again after \(Int(lasted.seconds)) s")
      }
    case .isAbandoned: metrics.health.answers(own)
    case .lasts(let line):
      let state = line.cause.kind == .throttled ? "throttled" : "unreachable"
      log.warning(
        """
        store \(state) for \(Int(line.lasted.seconds)) s: \(line.cause); requests are retried, and each read waits \
        for as long as --io-timeout allows
        """)
    }
  }
}
