import ObjectStore
import Posix
import SystemPackage

@testable import ReadEngine

/// A state machine of one object, driven by a seed against a naive model: readers, a queue of fetches, a store that
/// brings bytes in any order, a disk that is slow, refuses, and holds wrong bytes, a memory tier that evicts.
///
/// The model knows which bytes are in which block and which pieces lie right or wrong on disk, and holds each action
/// against that: `ObjectSimulation+World.swift` has what is around the object, `ObjectSimulation+Actions.swift` what
/// performs the actions.
struct ObjectSimulation {
  /// What the driver does wrong on purpose, to see it found.
  enum PlantedBug: CaseIterable {
    /// What an admitted read needs may be evicted.
    case unprotectedReads
    /// More bytes are reported than came.
    case overstatedArrival
    /// Records that were not read are taken for empty ones.
    case emptyRecords
    /// A read that was admitted before it was parked is not asked for again.
    case lostAdmission
    /// A read that is over enters the line for memory a second time.
    case secondAdmission
    /// A block is released once more than it was retained.
    case doubleRelease
    /// What was read from the disk is not compared with its record.
    case uncheckedBlocks
  }

  enum Mistake: Error, Equatable {
    /// Nothing is under way, and reads wait.
    case stuck(waiting: Int)
    /// A reply has bytes that never came.
    case foreignBytes
    /// A reply is not as long as its read, or has a hole.
    case wrongLength
    /// A block is released that nobody has.
    case releasedTwice
    /// A block is neither in memory nor released.
    case lostBlock
    /// The machine takes a piece for one on disk that is not there.
    case notOnDisk
    /// A copy is in use that has the name of two contents.
    case forgottenCopy
    /// A piece is asked for that is here, or that was asked for already.
    case requestedTwice
    /// A piece of a read that waits was fetched twice.
    case fetchedTwice
    /// A read that is over holds memory, or waits for it.
    case keptMemory
    /// A read was answered that was not waiting.
    case answeredTwice
    case endless

    /// Its name alone.
    var kind: String { String("\(self)".prefix { $0 != "(" }) }
  }

  struct Fetch {
    var plan: FetchPlan
    var pieces: Range<Int>
    var begun: Range<UInt64>?
    var position: UInt64 = 0
    var blocks: [BlockPool.Block] = []
    /// Nothing is reported before all of it is there; until then it may be sent again from its start, as by the
    /// winner of a hedge.
    var isVerified = false
  }

  enum Job {
    case verify(Waiter, [Int])
    case load([Int], CopyID, LoadedSegments)
    case removeCopy
    case write(BatchPlan)
  }

  let bug: PlantedBug?
  var random: SeededGenerator
  let size: UInt64
  var machine: ObjectStateMachine
  var world: World
  var trouble: Mistake?
  private(set) var steps = 0

  init(seed: UInt64, bug: PlantedBug? = nil) {
    self.bug = bug
    random = SeededGenerator(seed: seed)
    let unit = UInt64(Geometry.pieceSize)
    let kind = Int.random(in: 0..<4, using: &random)
    switch kind {
    case 0: size = UInt64.random(in: 1...Geometry.smallObjectLimit, using: &random)
    // Over two borders of segments.
    case 1: size = unit * UInt64(2 * PresenceMap.piecesPerSegment + 40) + 77
    default: size = UInt64.random(in: Geometry.smallObjectLimit + 1...40 * unit, using: &random)
    }
    machine = ObjectStateMachine(size: size, protectsReads: bug != .unprotectedReads)
    let blocks = [10, 16, 30].randomElement(using: &random)!
    world = World(blocks: blocks, hasDisk: kind == 1 || Bool.random(using: &random))
    if world.hasDisk { world.fillDisk(size, &random) }
  }

  var terms: ReadTerms {
    ReadTerms(
      now: world.now,
      network: LinkTerms(range: 1 << 20, connections: 4, window: 2 << 20, pipe: 1 << 20),
      isStopped: false)
  }

  // MARK: Playing

  /// Plays `turns` events, then lets everything come to its end.
  mutating func run(turns: Int = 120) throws(Mistake) {
    open()
    for _ in 0..<turns {
      event()
      try check()
    }
    while !world.isQuiet {
      steps += 1
      if steps > 20_000 { throw .endless }
      if !workOnce(mayFail: false) { throw .stuck(waiting: world.reads.count) }
      try check()
    }
    for _ in 0..<world.opens { close() }
    try check()
    if !machine.waiters.isEmpty { throw .stuck(waiting: machine.waiters.count) }
    if !world.isAdmissionFree { throw .keptMemory }
    let held = Set(machine.memory.pieces.values.map(\.block))
    if held != Set(world.contents.keys) { throw .lostBlock }
  }

  private mutating func event() {
    world.now = world.now + .milliseconds(Int.random(in: 0...400, using: &random))
    switch Int.random(in: 0..<20, using: &random) {
    case 0: if world.opens < 3 { open() }
    case 1: if world.opens > 1 { close() }
    case 2..<8: if world.reads.count < 6 { read(randomRange()) }
    case 8: prefetch()
    case 9: evictOne()
    case 10: if Int.random(in: 0..<6, using: &random) == 0 { confirm() }
    default: _ = workOnce(mayFail: true)
    }
  }

  private mutating func randomRange() -> Range<UInt64> {
    let count = UInt64.random(in: 1...min(size, 1 << 20), using: &random)
    let border = UInt64(PresenceMap.piecesPerSegment) * UInt64(Geometry.pieceSize)
    var start = UInt64.random(in: 0...size - count, using: &random)
    // A sequence, as often as not; around the border of two segments otherwise.
    if Bool.random(using: &random) {
      start = min(world.lastEnd, size - count)
    } else if size > 2 * border, Bool.random(using: &random) {
      start = border - min(border, UInt64.random(in: 0...2 << 20, using: &random))
    }
    world.lastEnd = start + count == size ? 0 : start + count
    return start..<start + count
  }

  private mutating func open() {
    world.opens += 1
    machine.opened(isUse: true)
    guard !machine.disk.isPrepared else { return }
    connect()
    perform(machine.prepared(retryAt: world.now + .seconds(1)))
  }

  /// `fetch`: what it is done for, which brings nothing meanwhile.
  mutating func connect(for fetch: FetchID? = nil) {
    let request = machine.blocks.beginConnecting(
      isPossible: world.hasDisk, retryAt: world.now + .seconds(1))
    guard let request else { return }
    arriveMeanwhile(but: fetch)
    var outcome = DiskOutcome(isCounted: true)
    if !request.hasCopy, world.hasCopy {
      let isKnown = size < 1 << 28
      outcome.records = isKnown ? world.records(size, nil) : LoadedSegments()
    }
    switch machine.blocks.connected(outcome) {
    case .adopted: world.copy = machine.disk.copy
    case .unwanted: (world.hasCopy, world.recorded) = (false, [])
    case .unchanged: break
    }
  }

  /// The lock of the object is free while the disk is asked; its copy stays as it is.
  private mutating func arriveMeanwhile(but fetch: FetchID?) {
    let begun = world.queue.indices.filter {
      world.queue[$0].begun != nil && world.queue[$0].plan.id != fetch
    }
    guard !world.isConnecting, Bool.random(using: &random),
      let index = begun.randomElement(using: &random)
    else { return }
    world.isConnecting = true
    deliver(index, Int.random(in: 0..<3, using: &random) == 0)
    world.isConnecting = false
  }

  private mutating func close() {
    world.opens -= 1
    machine.closed(isUse: true)
    retireIfAtRest()
  }

  private mutating func retireIfAtRest() {
    guard machine.isAtRest, machine.disk.isCounted else { return }
    machine.blocks.disk.close(at: world.now)
    world.copy = nil
  }

  /// The store says that it has this version, after all.
  private mutating func confirm() { machine.failures.confirmed(isNameless: false) }

  private mutating func read(_ bytes: Range<UInt64>) {
    switch machine.read(bytes, on: terms.network) {
    case .memory(let plan):
      var segments: [ReplySegment] = []
      machine.blocks.forEachBlock(of: bytes) { segments.append(.memory($0, offset: $1, count: $2)) }
      perform(machine.actions(of: plan))
      check(segments, of: bytes)
    case .disk(let plan):
      perform(machine.actions(of: plan))
      check([.disk(offset: bytes.lowerBound, count: bytes.count)], of: bytes)
    case .parks(let blocks):
      let place = blocks.map { world.enter(blocks: $0) }
      // Another thread comes in between: the lock is free.
      if Int.random(in: 0..<3, using: &random) == 0 { _ = workOnce(mayFail: true) }
      let (id, actions) = machine.parked(
        bytes, until: world.now + .seconds(600), ticket: place?.ticket,
        isAdmitted: place?.isAdmitted ?? false, terms)
      world.reads[id] = World.Read(bytes: bytes, ticket: place?.ticket)
      perform(actions)
    }
  }

  private mutating func prefetch() {
    let pieces = Geometry.pieces(covering: randomRange())
    guard let plan = machine.planPrefetch(pieces, limit: 2, chunk: 8, .planned) else { return }
    if let unknown = plan.unknown, let copy = machine.disk.copy {
      let segment = PresenceMap.segment(of: unknown)
      world.jobs.append(.load([segment], copy, world.records(size, [segment])))
    }
    queue(plan.fetches)
  }

  private mutating func evictOne() {
    // Sorted: a seed plays the same each time.
    guard let piece = world.held.sorted().randomElement(using: &random) else { return }
    world.held.remove(piece)
    if bug == .unprotectedReads || !machine.memory.isNeeded(piece) {
      if let block = machine.evict(piece) { release([block]) }
    } else if machine.evict(piece) != nil {
      trouble = .fetchedTwice
    }
  }

  // MARK: Checks

  private mutating func check() throws(Mistake) {
    if let trouble { throw trouble }
    if machine.disk.writes == .never, machine.disk.copy != nil { throw .forgottenCopy }
    for piece in machine.disk.presence.presentPieces
    where machine.disk.copy != nil && !world.isOnDisk(piece) { throw .notOnDisk }
    for (piece, held) in machine.memory.pieces {
      guard let content = world.contents[held.block] else { throw .lostBlock }
      if content.piece != piece || content.filled < held.filled { throw .foreignBytes }
    }
  }

  /// What a reader gets, piece by piece, is what came or what lies on disk.
  mutating func check(_ segments: [ReplySegment], of bytes: Range<UInt64>) {
    var position = bytes.lowerBound
    for segment in segments {
      switch segment {
      case .memory(let block, let offset, let count):
        let piece = Int(position / UInt64(Geometry.pieceSize))
        let isRight =
          world.contents[block].map { $0.piece == piece && $0.filled >= offset + count } ?? false
        if !isRight || Int(position % UInt64(Geometry.pieceSize)) != offset {
          trouble = .foreignBytes
        }
        position += UInt64(count)
      case .disk(let offset, let count):
        if offset != position { trouble = .wrongLength }
        for piece in Geometry.pieces(covering: position..<position + UInt64(count))
        where !world.isOnDisk(piece) || world.wrong.contains(piece) { trouble = .foreignBytes }
        position += UInt64(count)
      }
    }
    if position != bytes.upperBound { trouble = .wrongLength }
  }
}
