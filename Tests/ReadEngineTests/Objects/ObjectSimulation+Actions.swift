import Posix
import SystemPackage

@testable import ReadEngine

extension ObjectSimulation {
  // MARK: Actions

  mutating func perform(_ actions: [ObjectAction]) {
    world.performing += actions.count
    for action in actions {
      world.performing -= 1
      switch action {
      case .reply(let waiter, let segments):
        check(segments, of: waiter.bytes)
        answered(waiter)
      case .fail(let waiter, _), .timeOut(let waiter): answered(waiter)
      case .verify(let waiter, let pieces): world.jobs.append(.verify(waiter, pieces))
      case .askForMemory(let waiter, let blocks):
        let place = world.enter(blocks: blocks)
        world.reads[waiter.id]?.ticket = place.ticket
        var waiter = waiter
        waiter.ticket = place.ticket
        waiter.isAdmitted = place.isAdmitted
        perform(machine.advance(waiter, terms))
      case .waitsForMemory(let ticket): waitsForMemory(ticket)
      case .request(let plans, _): queue(plans)
      case .loadSegments(let segments, let copy):
        world.jobs.append(.load(segments, copy, world.records(size, segments)))
      case .release(let blocks): release(blocks)
      case .hold(let pieces): world.held.formUnion(pieces)
      case .removeCopy: world.jobs.append(.removeCopy)
      case .write: writeNext()
      case .memoryMayBeFree, .report, .becameStale: break
      }
    }
  }

  private mutating func waitsForMemory(_ ticket: ReadAdmission.Ticket) {
    if bug == .lostAdmission { return }
    // Another thread comes in between, and may end the read. Not while others are to be answered: their blocks are
    // not retained here.
    if world.performing == 0, !world.isConnecting, Int.random(in: 0..<3, using: &random) == 0 {
      _ = workOnce(mayFail: true)
    }
    let isAdmitted =
      bug == .secondAdmission ? world.enterAgain(ticket) : world.isAdmitted(ticket)
    if isAdmitted { perform(machine.admitted(ticket, terms)) }
  }

  private mutating func answered(_ waiter: Waiter) {
    guard world.reads.removeValue(forKey: waiter.id) != nil else {
      trouble = .answeredTwice
      return
    }
    guard let ticket = waiter.ticket else { return }
    world.held.formUnion(machine.ended(ticket))
    for next in world.leave(ticket) { perform(machine.admitted(next, terms)) }
  }

  mutating func release(_ blocks: [BlockPool.Block]) {
    for block in blocks where world.contents.removeValue(forKey: block) == nil {
      trouble = .releasedTwice
    }
    if bug == .doubleRelease, let block = blocks.first,
      world.contents.removeValue(forKey: block) == nil
    {
      trouble = .releasedTwice
    }
  }

  mutating func queue(_ plans: [FetchPlan]) {
    for plan in plans {
      let others = world.queue.contains { $0.pieces.overlaps(plan.pieces) }
      let isHere = plan.pieces.contains {
        machine.memory.isHeld($0) || machine.disk.copy != nil && world.isOnDisk($0)
      }
      if others || isHere { trouble = .requestedTwice }
      world.queue.append(Fetch(plan: plan, pieces: plan.pieces))
    }
  }

  // MARK: Work

  /// One thing goes on: a fetch is sent, brings bytes or ends; a disk worker or the writer does a job. False: there
  /// is nothing to do. `mayFail`: it may go wrong.
  mutating func workOnce(mayFail: Bool) -> Bool {
    let count = world.queue.count + world.jobs.count
    guard count > 0 else { return false }
    let fails = mayFail && Int.random(in: 0..<8, using: &random) == 0
    let index = Int.random(in: 0..<count, using: &random)
    if index < world.queue.count {
      if world.queue[index].begun == nil { begin(index, fails) } else { deliver(index, fails) }
    } else {
      work(world.jobs.remove(at: index - world.queue.count), fails)
    }
    return true
  }

  private mutating func begin(_ index: Int, _ fails: Bool) {
    let fetch = world.queue[index]
    guard let need = machine.need(of: fetch.plan.id, limit: 8), !fails else {
      return end(index, nil)
    }
    var pieces = need.pieces
    if let needed = need.needed, Bool.random(using: &random) { pieces = needed }
    // What comes behind the planned range would be another fetch's.
    let bytes = machine.fetchBegan(fetch.plan.id, pieces)!
    world.queue[index].pieces = pieces
    world.queue[index].begun = bytes
    world.queue[index].position = bytes.lowerBound
    world.queue[index].isVerified = Int.random(in: 0..<4, using: &random) == 0
    for (id, read) in world.reads {
      guard let ticket = read.ticket,
        let admitted = machine.memory.admitted.first(where: { $0.ticket == ticket })
      else { continue }
      for piece in admitted.pieces.clamped(to: pieces) {
        if !world.reads[id]!.fetched.insert(piece).inserted { trouble = .fetchedTwice }
      }
    }
  }

  mutating func deliver(_ index: Int, _ fails: Bool) {
    var fetch = world.queue[index]
    let range = fetch.begun!
    let isReported = !fetch.isVerified || fetch.position == range.upperBound
    if fails, !fetch.isVerified || !isReported {
      // What was not reported is the fetch's own.
      if !isReported { for block in fetch.blocks { world.contents[block] = nil } }
      return end(index, failure())
    }
    guard fetch.position < range.upperBound else { return end(index, nil) }
    if fetch.isVerified, Int.random(in: 0..<4, using: &random) == 0 {
      world.queue[index].position = range.lowerBound
      return
    }
    if machine.blocks.isTimeToWrite(at: world.now), world.hasDisk, !world.isConnecting {
      connect(for: fetch.plan.id)
    }
    // Others may have ended meanwhile.
    let index = world.queue.firstIndex { $0.plan.id == fetch.plan.id }!
    let most = Int(range.upperBound - fetch.position)
    let count = Bool.random(using: &random) ? most : Int.random(in: 1...most, using: &random)
    let unit = UInt64(Geometry.pieceSize)
    let target = fetch.position + UInt64(count)
    while fetch.position < target {
      let piece = Int(fetch.position / unit)
      if piece - fetch.pieces.lowerBound == fetch.blocks.count {
        world.lastBlock += 1
        fetch.blocks.append(world.lastBlock)
      }
      let end = min(target, UInt64(piece + 1) * unit)
      let block = fetch.blocks[piece - fetch.pieces.lowerBound]
      let filled = max(world.contents[block]?.filled ?? 0, Int(end - UInt64(piece) * unit))
      world.contents[block] = (piece, filled)
      fetch.position = end
    }
    world.queue[index] = fetch
    if fetch.isVerified, target < range.upperBound { return }
    var told = target
    if bug == .overstatedArrival, target % unit > 1, target < range.upperBound { told += 1 }
    perform(
      machine.bytesArrived(
        fetch.plan.id, upTo: told, in: fetch.blocks, FetchTimes(sentAt: world.now), terms))
  }

  private mutating func failure() -> FetchFailure {
    switch Int.random(in: 0..<6, using: &random) {
    case 0: FetchFailure(errno: .staleNFSFileHandle, isChange: true)
    case 1: FetchFailure(errno: .staleNFSFileHandle, isChange: true, forgetsCopy: true)
    case 2: FetchFailure(errno: .ioError, isCancelled: true)
    default: FetchFailure(errno: .ioError)
    }
  }

  private mutating func end(_ index: Int, _ failure: FetchFailure?) {
    let fetch = world.queue.remove(at: index)
    // What a failure took away may be asked for again.
    if failure != nil { forgetFetched() }
    perform(
      machine.fetchEnded(fetch.plan.id, failure, FetchTimes(sentAt: world.now), terms))
  }

  private mutating func forgetFetched() {
    for id in world.reads.keys { world.reads[id]!.fetched = [] }
  }

  // MARK: The disk

  private mutating func work(_ job: Job, _ fails: Bool) {
    switch job {
    case .verify(let waiter, let pieces):
      for piece in pieces { verify(piece, fails) }
      perform(machine.advance(waiter, terms))
    case .load(let segments, let copy, var loaded):
      if fails { return perform(machine.segmentsNotLoaded(segments, of: copy)) }
      if bug == .emptyRecords { loaded = LoadedSegments(segments: segments.map { ($0, .init()) }) }
      perform(machine.segmentsLoaded(loaded, of: copy, terms))
    case .removeCopy:
      (world.hasCopy, world.copy) = (false, nil)
      (world.recorded, world.wrong, world.trusted) = ([], [], [])
      forgetFetched()
      perform(machine.copyRemoved())
    case .write(let batch): write(batch, fails)
    }
  }

  private mutating func verify(_ piece: Int, _ fails: Bool) {
    guard let copy = machine.disk.copy else { return }
    if bug == .uncheckedBlocks || !world.wrong.contains(piece) && !fails {
      return machine.blocks.verified(piece, of: copy)
    }
    forgetFetched()
    if size > Geometry.smallObjectLimit {
      world.recorded.remove(piece)
      world.wrong.remove(piece)
    }
    let until = fails ? world.now + .seconds(60) : nil
    perform(machine.drop([piece], of: copy, refusedUntil: until))
  }

  private mutating func writeNext() {
    if let batch = machine.nextBatch() { world.jobs.append(.write(batch)) }
  }

  private mutating func write(_ batch: BatchPlan, _ fails: Bool) {
    if fails {
      perform(machine.couldNotWrite(batch, retryAt: world.now + .seconds(1)))
    } else {
      for (piece, block) in zip(batch.pieces, batch.blocks)
      where world.contents[block]?.piece != piece
        || world.contents[block]!.filled < Geometry.length(ofPiece: piece, size: size)
      {
        trouble = .foreignBytes
      }
      let before = (world.hasCopy, world.recorded, world.trusted, world.wrong)
      world.hasCopy = true
      world.recorded.formUnion(batch.pieces)
      world.wrong.subtract(batch.pieces)
      let (isAccepted, actions) = machine.wrote(batch)
      if isAccepted {
        world.copy = machine.disk.copy
        world.trusted.formUnion(batch.pieces)
      } else {
        (world.hasCopy, world.recorded, world.trusted, world.wrong) = before
      }
      perform(actions)
    }
    writeNext()
  }
}
