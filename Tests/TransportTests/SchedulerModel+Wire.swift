import ObjectStore
import Posix

@testable import Transport

/// What comes of the requests that were sent, and the alarms of those that nothing comes of.
extension SchedulerModel {
  // MARK: Transfers

  func inOrder(_ isDue: (ModelledTransfer) -> Bool) -> [TransferID] {
    var due: [TransferID] = []
    for (id, transfer) in wire where isDue(transfer) { due.append(id) }
    return due.sorted { $0.number < $1.number }
  }

  mutating func deliverHeads() {
    for id in inOrder({ $0.headAt.map { $0 <= now } ?? false && $0.answeredAt == nil }) {
      guard let transfer = wire[id] else { continue }
      wire[id]?.answeredAt = now
      let isHeard = scheduler.headArrived(id, of: transfer.exchange, status: transfer.status)
      if isHeard {
        if transfer.status >= 400, exchanges[transfer.exchange]?.transfers.count == 2 {
          fail("a refusal is listened to while another server may answer")
        }
        if let other = exchanges[transfer.exchange]?.heard, other != id {
          fail("two responses of one attempt are listened to")
        }
        exchanges[transfer.exchange]?.heard = id
      } else {
        wire[id]?.isDropped = true
        wire[id]?.endsAt = now
      }
    }
  }

  mutating func releaseLosers() {
    while defect != .forgetsLosers, let loser = scheduler.nextLoser() {
      spins = 0
      if loser.hedgeWon { counts.hedgesWon += 1 }
      if exchanges[loser.id]?.heard == loser.transfer { fail("the winner is released") }
      release(loser.transfer, of: loser.id)
    }
  }

  mutating func complete() {
    for id in inOrder({ $0.endsAt <= now }) {
      guard let transfer = wire[id] else { continue }
      spins = 0
      let goesOn = scheduler.transferEnded(
        id, of: transfer.exchange, dropped: transfer.isDropped ? transfer.status : nil,
        startedAt: transfer.startedAt, now: now)
      if goesOn {
        release(id, of: transfer.exchange)
        if exchanges[transfer.exchange]?.transfers.isEmpty != false { fail("nothing goes on") }
      } else {
        if transfer.isDropped { fail("a response that was dropped ends the attempt") }
        releaseTransfers(of: transfer.exchange)
        judge(transfer.exchange, store.verdict(on: transfer), transfer.madeProgress)
      }
    }
  }

  mutating func judge(_ id: ExchangeID, _ verdict: Verdict, _ madeProgress: Bool) {
    exchanges[id]?.attempts += 1
    exchanges[id]?.heard = nil
    let (next, _, _) = scheduler.judged(
      id, verdict, madeProgress: madeProgress, origin: "", now: now)
    switch next {
    case .finish(.success): end(id, "succeeded")
    case .finish(.failure(let error)): end(id, "failed: \(error.kind)")
    case .repeatNow: exchanges[id]?.state = .repeating
    case .retry(let instant, let cost):
      if instant < now { fail("a retry in the past") }
      if let deadline = exchanges[id]?.deadline, instant >= deadline {
        fail("a retry after the deadline")
      }
      exchanges[id]?.state = .backingOff(until: instant)
      exchanges[id]?.pendingCost = cost
      counts.requested += cost
    }
  }

  mutating func releaseTransfers(of id: ExchangeID) {
    if defect == .releasesNoTransfer { return }
    let detached = scheduler.detachTransfers(of: id)
    let transfers = [detached?.hedge, detached?.first].compactMap { $0 }
    if Set(transfers) != Set(exchanges[id]?.transfers ?? []) {
      fail("\(transfers.count) transfers are detached")
    }
    for transfer in transfers { release(transfer, of: id) }
  }

  mutating func release(_ id: TransferID, of exchange: ExchangeID) {
    guard let transfer = wire.removeValue(forKey: id), transfer.exchange == exchange else {
      return fail("a transfer is released that is not on the wire")
    }
    exchanges[exchange]?.transfers.removeAll { $0 == id }
    _ = scheduler.released(
      TransferReport(
        startedAt: transfer.startedAt, answeredAt: transfer.answeredAt,
        status: transfer.answeredAt == nil ? nil : transfer.status, received: store.bytes,
        expected: store.bytes), of: exchange, now: now)
  }

  // MARK: Alarms

  mutating func ringAlarms() {
    guard defect != .ringsNoAlarm else { return }
    for id in scheduler.due(now: now) {
      guard let exchange = exchanges[id] else { continue }
      let (awaited, transfers, time) = (awaited, wire, now)
      let alarm = scheduler.ring(
        id, now: now, sample: { transfers[$0]?.sample(at: time) ?? .nothing },
        isAwaited: { awaited.contains($0) })
      if alarm != .nothing { spins = 0 }
      act(on: alarm, id, exchange)
    }
  }

  mutating func act(
    on alarm: TransferAlarm, _ id: ExchangeID, _ exchange: ModelledExchange
  ) {
    if alarm != .nothing { record("\(exchange.stamp) rings: \(alarm)") }
    switch alarm {
    case .nothing: break
    case .expire: expire(id)
    case .hedge(let first, let attempt):
      if let problem = exchange.problemOfHedging(first, attempt) { fail(problem) }
      if !awaited.contains(id) { fail("hedged for nobody") }
      if wire.count >= scheduler.concurrency.limit { fail("a hedge over what may run at once") }
      counts.hedges += 1
      let second = send(id)
      scheduler.hedgeSent(id, second, startedAt: now, bytes: store.bytes, now: now)
    case .release(let transfer):
      if exchange.transfers.count != 2 { fail("nothing goes on in its place") }
      release(transfer, of: id)
    case .giveUp(let transfer, _, _):
      if wire[transfer] == nil { fail("what is given up does not run") }
      let madeProgress = wire[transfer]?.madeProgress ?? false
      releaseTransfers(of: id)
      judge(id, store.failure, madeProgress)
    }
  }

  mutating func expire(_ id: ExchangeID) {
    guard let exchange = exchanges[id], let expiry = scheduler.expire(id, now: now) else {
      return fail("an ended exchange expires")
    }
    if now < exchange.deadline { fail("it expires early") }
    counts.timedOut += 1
    switch expiry {
    case .fail: break
    case .running(let transfer):
      if !exchange.transfers.contains(transfer) { fail("what expires does not run") }
    case .unsent: if !exchange.transfers.isEmpty { fail("it was sent") }
    }
    end(id, "timed out")
  }
}
