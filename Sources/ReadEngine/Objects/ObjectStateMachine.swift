/// What is known of one version while it is in use: pieces in memory and on disk, fetches on their way, readers that
/// wait.
///
/// A value: one mutating method an event, each returns what is to be done. It holds numbers and no references, reads
/// no clock, does no I/O and calls nobody; `CachedObject` is its shell. The events of reads are here, those of
/// fetches and of the disk in the file beside it.
import Posix
import SystemPackage

struct ObjectStateMachine {
  /// Where its blocks are.
  var blocks: ObjectBlocks
  private(set) var opens = 0
  /// Those of them by readers.
  private(set) var readers = 0
  var fetches: FetchList
  var waiters: [Waiter] = []
  var streams = StreamTracker()
  var failures = ObjectFailures()
  private var lastWaiter: UInt64 = 0

  /// `protectsReads`: false only where a test plants a bug.
  init(size: UInt64, protectsReads: Bool = true) {
    blocks = ObjectBlocks(size: size, protectsReads: protectsReads)
    fetches = FetchList(size: size)
  }

  var size: UInt64 { blocks.size }
  var memory: ObjectMemory { blocks.memory }
  var disk: ObjectDisk { blocks.disk }

  // MARK: Opens

  mutating func opened(isUse: Bool) {
    if opens == 0 { blocks.forgetRefusal(isFetching: !fetches.isEmpty) }
    opens += 1
    if isUse { readers += 1 }
  }

  mutating func closed(isUse: Bool) {
    opens -= 1
    if isUse { readers -= 1 }
  }

  /// Nothing of it is in use, and nothing in memory.
  var isIdle: Bool { isAtRest && blocks.memory.pieces.isEmpty }

  /// It is not open and has no work in progress, though memory may hold some of it.
  var isAtRest: Bool {
    opens == 0 && fetches.isEmpty && waiters.isEmpty && blocks.isAtRest
  }

  // MARK: A read that is answered at once

  /// What the path of a hit gets: no array, so nothing is allocated for it.
  enum Answer {
    /// All in memory: `blocks.forEachBlock` says where.
    case memory(ReadPlan)
    /// All in the cache file, and right.
    case disk(ReadPlan)
    /// It is to be parked. `blocks`: what it needs of memory, if it needs any.
    case parks(blocks: Int?)
  }

  mutating func read(_ bytes: Range<UInt64>, on network: LinkTerms) -> Answer {
    switch blocks.standing(of: bytes) {
    case .memory: .memory(follow(bytes, on: network))
    case .disk: .disk(follow(bytes, on: network))
    case .missing: .parks(blocks: failures.isStale ? nil : blocks.blocksNeeded(for: bytes))
    case .mixed, .unverified, .unknown: .parks(blocks: nil)
    }
  }

  /// Records a read that is answered and plans what is worth having after it.
  private mutating func follow(_ bytes: Range<UInt64>, on network: LinkTerms) -> ReadPlan {
    guard !blocks.isSmall, !failures.isStale else { return ReadPlan() }
    let hint = streams.note(bytes, size: size, maxWindow: network.window, pipe: network.pipe)
    // Measured: looking for what to fetch ahead, at each read, was four fifths of a hit.
    if hint.ahead == 0 || blocks.lacksNothing { return ReadPlan() }
    return plan(for: bytes, hint, on: network)
  }

  private mutating func plan(
    for bytes: Range<UInt64>, _ hint: StreamTracker.Outlook, on network: LinkTerms
  ) -> ReadPlan {
    let plan = blocks.planner.plan(for: bytes, hint, on: network, &fetches)
    if let position = plan.plannedUpTo { streams.planned(upTo: position) }
    return plan
  }

  /// What a plan wants done: nothing, as a rule.
  mutating func actions(of plan: ReadPlan) -> [ObjectAction] {
    var actions: [ObjectAction] = []
    if !plan.fetches.isEmpty || !plan.promoted.isEmpty {
      actions.append(.request(plan.fetches, promoting: plan.promoted))
    }
    if let piece = plan.unknown { load(piece..<piece + 1, &actions) }
    return actions
  }

  private mutating func load(_ pieces: Range<Int>, _ actions: inout [ObjectAction]) {
    let segments = blocks.disk.segmentsToLoad(for: pieces)
    if let copy = blocks.disk.copy, !segments.isEmpty {
      actions.append(.loadSegments(segments, of: copy))
    }
  }

  // MARK: A read that waits

  /// A read comes that could not be answered at once.
  mutating func parked(
    _ bytes: Range<UInt64>, until deadline: Instant, ticket: ReadAdmission.Ticket?,
    isAdmitted: Bool, _ terms: ReadTerms
  ) -> (WaiterID, [ObjectAction]) {
    lastWaiter += 1
    var waiter = Waiter(
      id: WaiterID(number: lastWaiter), bytes: bytes, deadline: deadline, parkedAt: terms.now)
    waiter.ticket = ticket
    waiter.isAdmitted = isAdmitted
    return (waiter.id, advance(waiter, terms))
  }

  /// Takes a read one step on: to its answer, to the disk, or to its place among those that wait.
  mutating func advance(_ waiter: Waiter, _ terms: ReadTerms) -> [ObjectAction] {
    var actions: [ObjectAction] = []
    step(waiter, blocks.standing(of: waiter.bytes), terms, &actions)
    return actions
  }

  private mutating func step(
    _ waiter: Waiter, _ standing: ObjectBlocks.Standing, _ terms: ReadTerms,
    _ actions: inout [ObjectAction]
  ) {
    switch standing {
    case .disk, .mixed, .memory: actions.append(.reply(waiter, blocks.segments(of: waiter.bytes)))
    case .unverified: actions.append(.verify(waiter, blocks.unverified(in: waiter.bytes)))
    case .unknown:
      load(Geometry.pieces(covering: waiter.bytes), &actions)
      var waiter = waiter
      waiter.waitsForRecords = true
      park(waiter)
    case .missing: request(waiter, terms, &actions)
    }
  }

  /// Some of its bytes are nowhere here: asks for them, unless it fails.
  private mutating func request(
    _ waiter: Waiter, _ terms: ReadTerms, _ actions: inout [ObjectAction]
  ) {
    if let errno = failures.errno(of: waiter.bytes, at: terms.now) {
      return actions.append(.fail(waiter, errno))
    }
    if terms.isStopped { return actions.append(.fail(waiter, .ioError)) }
    if waiter.deadline <= terms.now { return actions.append(.timeOut(waiter)) }
    var waiter = waiter
    waiter.waitedForStore = true
    waiter.waitsForRecords = false
    guard let ticket = waiter.ticket else {
      let count = blocks.blocksNeeded(for: waiter.bytes)
      return actions.append(.askForMemory(waiter, blocks: count))
    }
    guard waiter.isAdmitted else {
      park(waiter)
      return actions.append(.waitsForMemory(ticket))
    }
    blocks.memory.admit(ticket, waiter.bytes)
    let hint =
      blocks.isSmall
      ? StreamTracker.Outlook(ahead: 0, planned: 0)
      : streams.note(
        waiter.bytes, size: size, maxWindow: terms.network.window, pipe: terms.network.pipe)
    let plan = plan(for: waiter.bytes, hint, on: terms.network)
    park(waiter)
    actions += self.actions(of: plan)
  }

  private mutating func park(_ waiter: Waiter) {
    waiters.append(waiter)
    fetches.wake(for: waiter)
  }

  /// The first in line for memory was admitted: it asks for what it lacks. If it is under way to its next step, it
  /// finds out there.
  mutating func admitted(_ ticket: ReadAdmission.Ticket, _ terms: ReadTerms) -> [ObjectAction] {
    guard let index = waiters.firstIndex(where: { $0.ticket == ticket }) else { return [] }
    var waiter = waiters.remove(at: index)
    waiter.isAdmitted = true
    return advance(waiter, terms)
  }

  /// A read is over. Returns pieces that may be evicted from now on.
  mutating func ended(_ ticket: ReadAdmission.Ticket) -> [Int] {
    blocks.memory.endRead(ticket)
  }

  /// Reads whose time is over end.
  mutating func expire(at now: Instant) -> [ObjectAction] {
    waiters.removeAndReturn { $0.deadline <= now }.map { .timeOut($0) }
  }

  mutating func failAll(_ errno: Errno) -> [ObjectAction] {
    waiters.removeAndReturn { _ in true }.map { .fail($0, errno) }
  }

  /// Takes one step those that have all of their bytes, after a fetch has brought some.
  mutating func wakeReady(
    after fetch: FetchID, _ times: FetchTimes, _ terms: ReadTerms, _ actions: inout [ObjectAction]
  ) {
    var others: [Waiter] = []
    for var waiter in waiters {
      switch blocks.standing(of: waiter.bytes) {
      case .missing, .unknown: others.append(waiter)
      case let standing:
        waiter.wasServed(times, at: terms.now)
        step(waiter, standing, terms, &actions)
      }
    }
    waiters = others
    fetches.wake(fetch, for: others)
  }

  /// Takes one step those that waited for records.
  mutating func wakeAfterLoading(_ terms: ReadTerms, _ actions: inout [ObjectAction]) {
    for var waiter in waiters.removeAndReturn(where: { $0.waitsForRecords }) {
      waiter.waitsForRecords = false
      step(waiter, blocks.standing(of: waiter.bytes), terms, &actions)
    }
  }
}
