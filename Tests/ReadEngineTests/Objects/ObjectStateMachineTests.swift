import ObjectStore
import Posix
import SystemPackage
import Testing

@testable import ReadEngine

/// The state machine of an object, driven alone.
@Suite struct ObjectStateMachineTests {
  private typealias Mistake = ObjectSimulation.Mistake

  private func mistakes(
    _ seeds: Range<UInt64>, bug: ObjectSimulation.PlantedBug? = nil
  ) -> [UInt64: Mistake] {
    var found: [UInt64: Mistake] = [:]
    for seed in seeds {
      var simulation = ObjectSimulation(seed: seed, bug: bug)
      do throws(Mistake) { try simulation.run() } catch { found[seed] = error }
    }
    return found
  }

  /// Readers, arrivals in any order, failures, eviction, staleness, late records, refusals and damage by the disk:
  /// each reader ends, each reply has its bytes, each block is released once, nothing is asked for twice.
  @Test(arguments: 0..<8 as Range<UInt64>)
  func everySequenceOfEventsMatchesTheModel(part: UInt64) {
    let found = mistakes(part * 400..<(part + 1) * 400)
    #expect(found.isEmpty, "seed: what: \(found.sorted { $0.key < $1.key }.prefix(9))")
  }

  @Test(arguments: ObjectSimulation.PlantedBug.allCases)
  func theModelFindsPlantedBugs(bug: ObjectSimulation.PlantedBug) {
    let found = Set(mistakes(0..<600, bug: bug).values.map(\.kind))
    let expected: String =
      switch bug {
      case .unprotectedReads: Mistake.fetchedTwice.kind
      case .overstatedArrival, .uncheckedBlocks: Mistake.foreignBytes.kind
      case .emptyRecords: Mistake.requestedTwice.kind
      case .lostAdmission: Mistake.stuck(waiting: 0).kind
      case .secondAdmission: Mistake.keptMemory.kind
      case .doubleRelease: Mistake.releasedTwice.kind
      }
    #expect(found.contains(expected), "\(found)")
  }

  // MARK: Records that are not known

  private let unit = UInt64(Geometry.pieceSize)
  private let start = Instant(nanoseconds: 1_000_000_000)

  private var terms: ReadTerms {
    ReadTerms(
      now: start, network: LinkTerms(range: 8 << 20, connections: 4, window: 0, pipe: 0),
      isStopped: false)
  }

  /// An object of three segments with a copy of which nothing is known yet.
  private func machine() -> ObjectStateMachine {
    var machine = ObjectStateMachine(size: unit * UInt64(3 * PresenceMap.piecesPerSegment))
    machine.opened(isUse: true)
    _ = machine.blocks.beginConnecting(isPossible: true, retryAt: start)
    _ = machine.blocks.connected(DiskOutcome(isCounted: true, records: LoadedSegments()))
    _ = machine.prepared(retryAt: start)
    return machine
  }

  private func segment(with places: Range<Int>) -> PresenceMap.Segment {
    var segment = PresenceMap.Segment()
    for place in places { segment.set(place, isPresent: true, isTrusted: true) }
    return segment
  }

  @Test func aReadOfUnknownRecordsWaitsUntilTheyAreReadAndAsksForNothing() throws {
    var machine = machine()
    let bytes = 10 * unit..<12 * unit
    guard case .parks(blocks: nil) = machine.read(bytes, on: terms.network) else {
      Issue.record("it needs no memory")
      return
    }
    let deadline = start + .seconds(9)
    let parked = machine.parked(bytes, until: deadline, ticket: nil, isAdmitted: false, terms)
    guard case .loadSegments([0], let copy)? = parked.1.first, parked.1.count == 1 else {
      Issue.record("\(parked.1)")
      return
    }
    // Another one does not have them read again.
    let other = machine.parked(bytes, until: deadline, ticket: nil, isAdmitted: false, terms)
    #expect(other.1.isEmpty)
    let loaded = LoadedSegments(segments: [(0, segment(with: 0..<100))])
    let woken = machine.segmentsLoaded(loaded, of: copy, terms)
    #expect(woken.count == 2)
    for case .reply(let waiter, let segments) in woken {
      #expect(waiter.bytes == bytes)
      #expect(segments == [.disk(offset: bytes.lowerBound, count: bytes.count)])
    }
    #expect(machine.waiters.isEmpty)
    // From now on it is a hit.
    guard case .disk = machine.read(bytes, on: terms.network) else {
      Issue.record("not answered at once")
      return
    }
  }

  @Test func aReadWhoseRecordsNoThreadReadsFailsAndTheNextOneHasThemReadAgain() {
    var machine = machine()
    for _ in 0..<2 {
      let (id, actions) = machine.parked(
        0..<unit, until: start + .seconds(9), ticket: nil, isAdmitted: false, terms)
      guard case .loadSegments(let segments, let copy)? = actions.first else {
        Issue.record("\(actions)")
        return
      }
      let failed = machine.segmentsNotLoaded(segments, of: copy)
      guard case .fail(let waiter, .ioError)? = failed.first else {
        Issue.record("\(failed)")
        return
      }
      #expect(waiter.id == id && machine.waiters.isEmpty)
    }
  }

  /// What is dropped or written while records are being read holds against them.
  @Test func whatChangesWhileRecordsAreReadHolds() {
    var map = PresenceMap(pieceCount: 2 * PresenceMap.piecesPerSegment, isRecorded: true)
    map.drop(3)
    map.markTrusted(500)
    #expect(!map.isKnown(3) && !map.isPresent(500) && map.presentCount == 0)
    map.load(0, segment(with: 0..<10))
    #expect(map.presentPieces == [0, 1, 2, 4, 5, 6, 7, 8, 9, 500] && map.trustedCount == 10)
    #expect(map.unknownSegments(of: 0..<5000) == [1])
    map.markTrusted(5000)
    map.completeLoading()
    #expect(map.isPresent(5000) && map.isAllKnown && map.presentCount == 11)
  }

  // MARK: Removing a copy

  /// The lock is free while the disk is asked: a reply may show meanwhile that the name stands for two contents.
  @Test func aCopyThatIsFoundAfterAnotherContentWasSeenIsNotUsed() throws {
    var machine = ObjectStateMachine(size: 40 * unit)
    machine.opened(isUse: true)
    let parked = machine.parked(
      0..<unit, until: start + .seconds(9), ticket: 1, isAdmitted: true, terms
    ).1
    guard case .request(let plans, _)? = parked.first else {
      Issue.record("\(parked)")
      return
    }
    _ = machine.fetchBegan(plans[0].id, plans[0].pieces)
    _ = machine.blocks.beginConnecting(isPossible: true, retryAt: start)
    let failure = FetchFailure(errno: .staleNFSFileHandle, isChange: true, forgetsCopy: true)
    _ = machine.fetchEnded(plans[0].id, failure, FetchTimes(), terms)
    let records = LoadedSegments(segments: [(0, segment(with: 0..<40))], isComplete: true)
    let connection = machine.blocks.connected(DiskOutcome(isCounted: true, records: records))
    #expect(connection == .unwanted && machine.disk.copy == nil && machine.disk.writes == .never)
    #expect(machine.disk.isCounted)
  }

  /// What is fetched anew has the same name on disk: it waits until the old files are gone.
  @Test func nothingIsWrittenBeforeTheFilesOfAWrongCopyAreGone() throws {
    var machine = ObjectStateMachine(size: 100)
    machine.opened(isUse: true)
    _ = machine.blocks.beginConnecting(isPossible: true, retryAt: start)
    var records = LoadedSegments(isComplete: true)
    var found = PresenceMap.Segment()
    found.set(0, isPresent: true, isTrusted: false)
    records.segments = [(0, found)]
    let connection = machine.blocks.connected(DiskOutcome(isCounted: true, records: records))
    let copy = try #require(machine.disk.copy)
    #expect(connection == .adopted)
    _ = machine.prepared(retryAt: start)
    let dropped = machine.drop([0], of: copy, refusedUntil: nil)
    guard case .removeCopy? = dropped.first else {
      Issue.record("\(dropped)")
      return
    }
    let actions = machine.parked(
      0..<100, until: start + .seconds(9), ticket: 1, isAdmitted: true, terms
    ).1
    guard case .request(let plans, _)? = actions.first else {
      Issue.record("\(actions)")
      return
    }
    _ = machine.fetchBegan(plans[0].id, plans[0].pieces)
    _ = machine.bytesArrived(plans[0].id, upTo: 100, in: [7], FetchTimes(), terms)
    let ended = machine.fetchEnded(plans[0].id, nil, FetchTimes(), terms)
    #expect(!ended.contains { if case .write = $0 { true } else { false } })
    let early = machine.nextBatch()
    #expect(early.map(\.pieces) == nil)
    let removed = machine.copyRemoved()
    #expect(removed.contains { if case .write = $0 { true } else { false } })
    let batch = machine.nextBatch()
    #expect(batch?.pieces == [0])
    // A verdict on the old copy says nothing of the new one.
    let (isAccepted, _) = machine.wrote(try #require(batch))
    let late = machine.drop([0], of: copy, refusedUntil: nil)
    #expect(isAccepted && late.isEmpty && machine.disk.copy != nil && machine.disk.copy != copy)
  }
}
