import CCurlShim
import DequeModule
import Glibc
import Logging
import Metrics
import ObjectStore
import Posix
import SystemPackage

/// The transport's thread: admits exchanges, runs their attempts, and acts on what `RetryState`,
/// `RetryBudget` and `ProgressWatch` decide. Everything in it is touched by that thread alone.
///
/// libcurl is handed only what may run now: time in its own queue would count against a transfer.
final class TransferLoop: @unchecked Sendable {
  let mailbox: Mailbox
  let configuration: TransportConfiguration
  let metrics: StoreMetrics
  let log: Logger
  var budget: RetryBudget
  var random: SeededGenerator

  /// Tasks that have not ended, in no order; `ExchangeTask.index` is the place.
  var live: [ExchangeTask] = []
  var ready: Deque<ExchangeTask> = []
  /// Retries that wait for the budget, in the order in which their back-off ended.
  var awaitingBudget: Deque<ExchangeTask> = []
  /// No alarm or deadline of a live task is earlier.
  var nextAlarm = Instant.distantFuture

  let share: UnsafeMutableRawPointer
  var multi: CurlMulti
  var pool: [Transfer] = []
  var running = 0
  var hedging = HedgePolicy()
  var waits = TTFBTracker()
  var concurrency: ConcurrencyLimit
  var limits: RateLimiter
  /// The time in which `limits` held something back, and since when they do so now.
  var limited = Duration.zero
  var limitedSince: Instant?
  /// They hold back what readers wait for as well.
  var limitsHoldAll = false
  var outage: OutageWatch
  /// When the limits let the next request go.
  var nextAdmission = Instant.distantFuture
  /// Tasks with two requests under way.
  var hedged: [ExchangeTask] = []
  var addresses = HostAddressPool()
  var lookUps = 0
  /// Abandoned, not waited for: a name server may not answer.
  let lookUpPool: WorkerPool?
  let spreads: Bool
  /// Since when no exchange has been live; nil while one is.
  var idleSince: Instant?
  var mayHaveConnections = false

  init(
    mailbox: Mailbox, configuration: TransportConfiguration, metrics: StoreMetrics, log: Logger,
    seed: UInt64
  ) throws(Errno) {
    multi = try CurlMulti(
      wakeUp: mailbox.wakeUp,
      maxConnections: max(configuration.maxIdleConnections, configuration.maxConcurrentTransfers))
    guard let share = curl_share_init() else { throw .noMemory }
    // One thread: no lock functions. TLS sessions are resumed whichever handle began them.
    _ = millrace_share(share, CURL_LOCK_DATA_SSL_SESSION)
    _ = millrace_share(share, CURL_LOCK_DATA_DNS)
    self.share = share
    self.mailbox = mailbox
    self.configuration = configuration
    self.metrics = metrics
    self.log = log
    budget = RetryBudget(now: .now)
    concurrency = ConcurrencyLimit(most: configuration.maxConcurrentTransfers)
    limits = RateLimiter(
      requestsPerSecond: configuration.maxRequestsPerSecond,
      bytesPerSecond: configuration.maxBytesPerSecond, now: .now)
    outage = OutageWatch(interval: configuration.namesOutageAfter)
    random = SeededGenerator(seed: seed)
    // A proxy has its own idea of where a name leads.
    let proxies: [String] = ["http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]
    spreads = configuration.lookUp != nil && proxies.allSatisfy { getenv($0) == nil }
    lookUpPool =
      spreads ? WorkerPool(named: "name-lookup", threads: 2, queueLimit: Self.mostLookUps) : nil
  }

  deinit {
    pool = []
    lookUpPool?.abandon()
    curl_share_cleanup(share)
  }

  /// The thread's body; ends after `Mailbox.stop()`.
  func run() {
    blockSignals()
    while true {
      let batch = mailbox.take()
      accept(batch)
      if batch.isStopping { return endAll() }
      startRetries()
      admit()
      multi.run(until: mailbox.prepareToSleep() ? nextWakeUp() : Instant(nanoseconds: 0))
      endLosers()
      while let (transfer, code) = multi.nextCompleted() { complete(transfer, code) }
      ringAlarms()
      nameOutage()
      closeIdleConnections()
    }
  }

  /// Signals are for the threads that expect them; SIGPIPE of a TLS write is for no thread.
  func blockSignals() {
    var all = sigset_t()
    sigfillset(&all)
    for fault in [SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT] { sigdelset(&all, fault) }
    pthread_sigmask(SIG_BLOCK, &all, nil)
  }

  // MARK: In and out

  func accept(_ batch: Mailbox.Batch) {
    for task in batch.started {
      task.index = live.count
      live.append(task)
      setAlarm(.distantFuture, of: task)
      task.limitTimeAtQueue = limitTime(.now)
      ready.append(task)
    }
    for task in batch.refused { refuse(task) }
    for task in batch.cancelled where !task.hasEnded { cancel(task) }
    for (host, list) in batch.lookedUp { addresses.lookedUp(host, list, now: .now) }
    lookUps -= batch.lookedUp.count
    dropEnded(&ready)
    dropEnded(&awaitingBudget)
  }

  func endAll() {
    while let task = live.last { cancel(task) }
    setHoldsAll(false, .now)
    metrics.health.answers(ObjectIdentifier(self))
    pool = []
  }

  func cancel(_ task: ExchangeTask) {
    let error = StoreError(.cancelled, store: task.origin, detail: "the request was cancelled")
    end(task, .failure(error))
  }

  func refuse(_ task: ExchangeTask) {
    let limit = configuration.maxLiveExchanges
    let failure = TransferFailure(.other, detail: "more than \(limit) requests are queued")
    let cause = lastWord(of: task, on: .transferFailed(failure, wasStreaming: false))
    task.phase = .ended
    metrics.errors.add()
    let exchange = task.exchange.take()
    exchange?.finish(cause)
  }

  /// The one place where an exchange ends; whatever it was doing is ended first.
  func end(_ task: ExchangeTask, _ result: Result<Void, StoreError>) {
    if case .running(let transfer, _) = task.phase { release(transfer) }
    endHedge(of: task)
    // The task is its caller's ticket and may outlive the loop, as a transfer must not.
    task.winner = nil
    task.phase = .ended
    let last = live.removeLast()
    if last !== task {
      live[task.index] = last
      last.index = task.index
    }
    mailbox.taskEnded()
    switch result {
    case .success: budget.succeeded(cost: task.ledger.lastCost)
    case .failure(let error):
      if error.kind != .cancelled && error.kind != .notFound { metrics.errors.add() }
    }
    let exchange = task.exchange.take()
    exchange?.finish(result)
  }

  /// Tasks that were ended while they waited stay in their queue until it is their turn; they must
  /// not pile up before that.
  func dropEnded(_ queue: inout Deque<ExchangeTask>) {
    if queue.count > 2 * live.count + 64 { queue.removeAll { $0.hasEnded } }
  }

  /// What the exchange makes of an outcome after which nothing is tried any more.
  func lastWord(
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

  // MARK: Attempts

  /// How long an attempt of the task's may be silent.
  func watch(_ task: ExchangeTask, now: Instant) -> ProgressWatch {
    // A limited line is silent for as long as its bytes are not due.
    let adapts = configuration.adaptsTimeouts && configuration.maxBytesPerSecond == nil
    func timeout(_ limit: Duration) -> Duration {
      adapts
        ? waits.timeout(task.size, failures: task.ledger.failures, limit: limit) : limit
    }
    return ProgressWatch(
      firstByteTimeout: timeout(configuration.firstByteTimeout),
      stallTimeout: timeout(configuration.stallTimeout), now: now)
  }

  func beginAttempt(_ task: ExchangeTask) {
    guard let exchange = task.exchange else { return }
    let now = Instant.now
    guard now < task.deadline else { return expire(task) }
    tellLimitWait(of: task, now)
    if let hindrance = exchange.hindrance { return holdUp(task, hindrance, now: now) }
    task.winner = nil
    task.sentAt = now
    let transfer: Transfer
    switch send(task, exchange) {
    case .sent(let sent): transfer = sent
    case .refused(let error):
      if let hindrance = exchange.hindrance { return holdUp(task, hindrance, now: now) }
      return end(task, .failure(error))
    case .failed(let failure):
      return attemptEnded(
        task, .transferFailed(failure, wasStreaming: false), madeProgress: false)
    }
    let watch = watch(task, now: now)
    task.phase = .running(transfer, watch)
    setAlarm(nextCheck(at: task, transfer, watch, now: now), of: task)
  }

  private func holdUp(_ task: ExchangeTask, _ cause: StoreError, now: Instant) {
    task.phase = .heldUp(cause)
    setAlarm(now + Self.heldUpInterval, of: task)
  }

  /// How often one that is held up is looked at again.
  static let heldUpInterval: Duration = .milliseconds(20)

  enum Sending {
    case sent(Transfer)
    /// The exchange has no request to make.
    case refused(StoreError)
    case failed(TransferFailure)
  }

  /// Puts a request of the exchange's on the wire. `slow`: the transfer that has had no answer yet.
  func send(
    _ task: ExchangeTask, _ exchange: any Exchange, besides slow: Transfer? = nil
  ) -> Sending {
    let transfer = pool.popLast() ?? Transfer(configuration, share: share)
    let request: HTTPRequest
    do throws(StoreError) {
      request = try exchange.makeRequest(attempt: task.ledger.attempt)
    } catch {
      pool.append(transfer)
      return .refused(error)
    }
    task.origin = request.origin
    let expected = exchange.expectedBytes
    task.size = TTFBTracker.SizeClass(bytes: expected)
    do throws(TransferFailure) {
      try transfer.prepare(request, for: task, exchange: exchange)
    } catch {
      pool.append(transfer)
      return .failed(error)
    }
    chooseAddress(for: transfer, request, avoiding: slow?.address)
    if slow != nil { transfer.useFreshConnection() }
    hedging.requested()
    limits.sent(expecting: expected, now: .now)
    transfer.charged = expected
    running += 1
    metrics.inFlight.add(1)
    multi.add(transfer)
    mayHaveConnections = true
    return .sent(transfer)
  }

  func complete(_ transfer: Transfer, _ code: CURLcode) {
    // Not ours any more if its exchange was ended while libcurl's message waited.
    guard let task = transfer.task else { return }
    transfer.noteEnd(code)
    if endsHedgedTransfer(task, transfer) { return }
    endAttempt(task, transfer, transfer.outcome(code))
  }

  /// Takes the transfer off the wire, then asks the exchange what next.
  func endAttempt(
    _ task: ExchangeTask, _ transfer: Transfer, _ outcome: AttemptOutcome
  ) {
    let madeProgress = transfer.streamed > 0
    endHedge(of: task)
    release(transfer)
    attemptEnded(task, outcome, madeProgress: madeProgress)
  }

  func attemptEnded(
    _ task: ExchangeTask, _ outcome: AttemptOutcome, madeProgress: Bool
  ) {
    guard let exchange = task.exchange else { return }
    task.phase = .queued
    let verdict = exchange.attemptEnded(outcome)
    if case .retry(_, isThrottle: true, _) = verdict { throttled(task) }
    // By what was known before this failure: one object that fails is no outage.
    let waits = waitsForStore
    watchOutage(task, verdict)
    let next = task.ledger.ended(
      verdict, madeProgress: madeProgress, waitsForStore: waits, origin: task.origin,
      now: .now, random: &random)
    switch next {
    case .finish(let result): end(task, result)
    case .repeatNow:
      setAlarm(.distantFuture, of: task)
      task.limitTimeAtQueue = limitTime(.now)
      ready.prepend(task)
    case .retry(let instant, _):
      metrics.retries.add()
      log.debug("\(task.origin): attempt \(task.ledger.attempt) failed: \(describe(task))")
      task.phase = .backingOff
      setAlarm(instant, of: task)
    }
  }

  func release(_ transfer: Transfer) {
    metrics.connectionsOpened.add(transfer.easy.long(CURLINFO_NUM_CONNECTS))
    if let answered = transfer.answeredAt, let task = transfer.task {
      waits.answered(task.size, after: answered - transfer.startedAt)
      if let status = transfer.status, status < 400 {
        outageEnds()
        concurrency.succeeded(running: running)
        metrics.concurrencyLimit.set(Int64(concurrency.limit))
      }
    }
    limits.received(transfer.received, expected: transfer.charged)
    if let address = transfer.address, let host = transfer.host {
      addresses.release(address, of: host, failed: transfer.couldNotConnect, now: .now)
    }
    multi.remove(transfer)
    transfer.recycle()
    pool.append(transfer)
    running -= 1
    metrics.inFlight.add(-1)
  }

  private func throttled(_ task: ExchangeTask) {
    metrics.throttles.add()
    hedging.throttled(now: .now)
    concurrency.throttled(running: running + 1, sentAt: task.sentAt, now: .now)
    metrics.concurrencyLimit.set(Int64(concurrency.limit))
  }

  func describe(_ task: ExchangeTask) -> String {
    task.ledger.lastCause?.description ?? ""
  }

  func startRetries() {
    while let task = awaitingBudget.first {
      guard case .awaitingBudget = task.phase else {
        awaitingBudget.removeFirst()
        continue
      }
      guard budget.withdraw(task.ledger.lastCost, now: .now) else { return }
      awaitingBudget.removeFirst()
      task.phase = .queued
      task.limitTimeAtQueue = limitTime(.now)
      ready.prepend(task)
    }
  }

  func closeIdleConnections() {
    guard live.isEmpty, mayHaveConnections else {
      idleSince = nil
      return
    }
    let now = Instant.now
    let since = idleSince ?? now
    idleSince = since
    guard now >= since + configuration.closeIdleAfter else { return }
    pool = []
    multi.closeIdleConnections()
    mayHaveConnections = false
  }
}
