import CCurlShim
import Logging
import Metrics
import ObjectStore
import Posix

/// Attempts: from the exchange's request to what the exchange makes of the response.
extension TransferLoop: TransferListener {
  /// An exchange was admitted.
  func begin(_ id: ExchangeID, attempt: Int, held: Duration?) {
    guard let task = tasks[id], let exchange = task.exchange else { return }
    if let held {
      // What of its wait was our own doing.
      metrics.rateLimitedRequests.add()
      exchange.waitedForLimit(held)
    }
    switch exchange.nextRequest(attempt: attempt) {
    case .ready(let request):
      do throws(TransferFailure) {
        let transfer = try send(request, task, exchange)
        scheduler.sent(
          id, transfer.id, startedAt: transfer.startedAt, bytes: transfer.expected, now: .now)
      } catch {
        attemptEnded(id, .transferFailed(error, wasStreaming: false), madeProgress: false)
      }
    case .waiting(let signal, let cause):
      scheduler.wait(id, for: ObjectIdentifier(signal), cause: cause)
      signal.observe(by: mailbox)
    case .failed(let error): end(id, .failure(error))
    }
  }

  /// An attempt is slow. What cannot be sent now is no harm: the first request is still under way.
  func hedge(_ id: ExchangeID, attempt: Int, besides first: TransferID) {
    guard let task = tasks[id], let exchange = task.exchange, let first = wire.transfer(first),
      case .ready(let request) = exchange.nextRequest(attempt: attempt),
      let second = try? send(request, task, exchange, besides: first)
    else { return }
    metrics.hedges.add()
    scheduler.hedgeSent(
      id, second.id, startedAt: second.startedAt, bytes: second.expected, now: .now)
  }

  private func send(
    _ request: HTTPRequest, _ task: ExchangeTask, _ exchange: any Exchange,
    besides slow: Transfer? = nil
  ) throws(TransferFailure) -> Transfer {
    task.origin = request.origin
    let attempt = Transfer.Attempt(
      task: task, exchange: exchange, listener: self, expected: exchange.expectedBytes)
    let transfer = try wire.send(request, attempt, limits: task.limits, besides: slow)
    metrics.inFlight.add(1)
    return transfer
  }

  // MARK: Ends of transfers

  /// Within a callback of libcurl's, in which no transfer can be ended.
  func headArrived(_ transfer: Transfer, status: Int) -> Bool {
    guard let id = transfer.attempt?.task.id else { return false }
    return scheduler.headArrived(transfer.id, of: id, status: status)
  }

  func releaseLosers() {
    while let loser = scheduler.nextLoser() {
      if loser.hedgeWon { metrics.hedgesWon.add() }
      release(loser.transfer, of: loser.id)
    }
  }

  func complete(_ transfer: Transfer, _ code: CURLcode) {
    // Not ours any more if its exchange was ended while libcurl's message waited.
    guard let id = transfer.attempt?.task.id else { return }
    transfer.ended(with: code)
    let goesOn = scheduler.transferEnded(
      transfer.id, of: id, dropped: transfer.droppedStatus, startedAt: transfer.startedAt,
      now: .now)
    if goesOn {
      release(transfer.id, of: id)
    } else {
      endAttempt(of: id, transfer, transfer.outcome(code))
    }
  }

  /// Takes the attempt's transfers off the wire, then asks the exchange what next.
  func endAttempt(of id: ExchangeID, _ transfer: Transfer, _ outcome: AttemptOutcome) {
    let madeProgress = transfer.response.streamed > 0
    releaseTransfers(of: id)
    attemptEnded(id, outcome, madeProgress: madeProgress)
  }

  private func attemptEnded(_ id: ExchangeID, _ outcome: AttemptOutcome, madeProgress: Bool) {
    guard let task = tasks[id], let exchange = task.exchange else { return }
    let verdict = exchange.attemptEnded(outcome)
    let (next, number, outage) = scheduler.judged(
      id, verdict, madeProgress: madeProgress, origin: task.origin, now: .now)
    if case .retry(_, isThrottle: true, _) = verdict {
      metrics.throttles.add()
      publishConcurrency()
    }
    publish(outage)
    switch next {
    case .finish(let result): end(id, result)
    case .repeatNow: break
    case .retry:
      metrics.retries.add()
      if case .retry(let cause, _, _) = verdict {
        log.debug("\(task.origin): attempt \(number) failed: \(cause)")
      }
    }
  }

  func releaseTransfers(of id: ExchangeID) {
    guard let (first, hedge) = scheduler.detachTransfers(of: id) else { return }
    if let hedge { release(hedge, of: id) }
    release(first, of: id)
  }

  func release(_ transferID: TransferID, of id: ExchangeID) {
    guard let transfer = wire.transfer(transferID) else { return }
    metrics.connectionsOpened.add(transfer.connectionsOpened)
    let report = transfer.report
    let change = scheduler.released(report, of: id, now: .now)
    wire.release(transfer)
    metrics.inFlight.add(-1)
    publish(change)
    if report.isSuccess { publishConcurrency() }
  }

  private func publishConcurrency() {
    metrics.concurrencyLimit.set(Int64(scheduler.concurrency.limit))
  }
}
