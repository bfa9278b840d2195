import Metrics
import ObjectStore
import Posix
import SystemPackage
import Testing

@testable import ReadEngine

/// What a fetch gets of the memory, and what the disk is asked again.
@Suite struct AdmissionTests {
  private final class Item: Schedulable {
    var isPromoted = false
    var passes = 0
  }

  // MARK: Memory

  @Test func nothingIsEvictedForAFetchThatWouldHaveTooLittleAllTheSame() {
    for policy in EvictionPolicy.allCases {
      var held = HeldPieces<Int>(policy)
      for piece in 0..<10 { held.add(piece) }
      var random = SeededGenerator(seed: 1)
      var taken: [Int] = []
      func evict(_ count: Int, atLeast least: Int) -> Int {
        held.evict(
          count, atLeast: least, for: .reader, using: &random, look: { _ in .read },
          take: {
            taken.append($0)
            return true
          })
      }
      #expect(evict(11, atLeast: 11) == 0 && taken.isEmpty && held.count == 10, "\(policy)")
      #expect(evict(4, atLeast: 4) == 4 && taken.count == 4 && held.count == 6, "\(policy)")
      #expect(evict(9, atLeast: 1) == 6 && held.count == 0, "\(policy)")
    }
  }

  @Test func aPieceThatMustStayIsOffTheListAndIsNotEvictedForAnybody() {
    for policy in EvictionPolicy.allCases {
      for seed in 0..<50 as Range<UInt64> {
        var held = HeldPieces<Int>(policy)
        for piece in 0..<20 { held.add(piece) }
        var random = SeededGenerator(seed: seed)
        var taken: [Int] = []
        _ = held.evict(
          20, for: .reader, using: &random,
          look: { $0 % 2 == 0 ? .gone : .wanted(nextUse: seed % 2 == 0 ? 3 : nil) },
          take: {
            taken.append($0)
            return true
          })
        #expect(taken.allSatisfy { $0 % 2 == 1 }, "\(policy), seed \(seed)")
        #expect(policy == .lru || taken.count == 10, "\(policy), seed \(seed)")
      }
    }
  }

  @Test func onlyDemandPassesAFetchThatLacksMemoryAndNotForEver() {
    var schedule = FetchSchedule<Item>(maxInFlight: 100, connections: 4)
    let first = Item()
    _ = schedule.add(first, .demand)
    _ = schedule.add(Item(), .ahead)
    var passed = 0
    for _ in 0..<100 {
      _ = schedule.add(Item(), .demand)
      guard let short = schedule.next() else { break }
      #expect(short.fetch === first)
      let other = schedule.next(passing: [short])
      #expect(other.map { $0.rank == .demand } ?? true)
      if let other {
        passed += 1
        schedule.ended(other.kind)
      }
      schedule.putBack([short], passedBy: other == nil ? 0 : 1)
    }
    #expect(passed == 32)
    // In the order in which they were taken.
    let turns = [schedule.next()!, schedule.next()!]
    schedule.putBack(turns)
    let next = schedule.next()
    #expect(next?.fetch === first)
  }

  @Test func whatIsAskedForCoversTheReadersThatWaitAndNoMore() {
    let version = ObjectVersion(
      key: ObjectKey("a"), etag: "e", size: UInt64(100 * Geometry.pieceSize), modified: 0)
    func bytes(_ pieces: Range<Int>) -> Range<UInt64> {
      Geometry.bytes(ofPieces: pieces, size: version.size)
    }
    var memory = ObjectMemory(pieceCount: 100, isSmall: false, protectsReads: true)
    #expect(memory.needed(of: 0..<32, limit: 12) == nil)
    memory.admit(1, bytes(10..<18))
    memory.admit(2, bytes(30..<38))
    memory.admit(3, bytes(18..<20))
    #expect(memory.needed(of: 0..<32, limit: 12) == 10..<20)
    #expect(memory.needed(of: 0..<32, limit: 4) == 10..<14)
    #expect(memory.needed(of: 20..<32, limit: 12) == 30..<32)
    #expect(memory.needed(of: 40..<50, limit: 12) == nil)
    _ = memory.endRead(1)
    #expect(memory.needed(of: 0..<32, limit: 12) == 30..<32)
    #expect(memory.isNeeded(19) && !memory.isNeeded(10))
  }

  // MARK: The disk

  @Test func aRefusalByTheDiskEndsWithTimeAndForASmallObjectAtItsNextOpen() {
    let now = Instant.now
    for size in [UInt64(100), 5 << 20] {
      var state = ObjectStateMachine(size: size)
      state.opened(isUse: true)
      _ = state.prepared(retryAt: now)
      state.closed(isUse: true)
      #expect(!state.blocks.isTimeToWrite(at: now))
      _ = state.blocks.refuseWrites(until: now + .seconds(5))
      #expect(!state.blocks.isTimeToWrite(at: now + .seconds(4)))
      #expect(state.blocks.isTimeToWrite(at: now + .seconds(5)) == !state.blocks.isSmall)
      #expect(state.disk.isPrepared)
      state.opened(isUse: true)
      #expect(!state.disk.isPrepared)
    }
  }

  @Test func whatTheDiskRefusedIsWrittenOnceThereIsRoomAndItIsOpenedAgain() async throws {
    for size in [900_000, 3 << 20] {
      let rig = try EngineRig()
      let first = try await rig.put("first", size: 3 << 20)
      let second = try await rig.put("second", size: size, seed: 2)
      let engine = try rig.engine(cacheLimit: UInt64(3 << 20) + 200_000)
      defer { engine.shutdown() }
      let open = engine.open(first)
      _ = try await open.bytes(at: 0, count: 3 << 20)
      try await until { engine.holding(of: first).memory == 0 }
      let refused = engine.open(second)
      _ = try await refused.bytes(at: 0, count: size)
      try await until { !engine.holding(of: second).isMoving }
      #expect(engine.holding(of: second).memory == UInt64(size))
      refused.close()
      open.close()
      #expect(engine.evict(first) != nil)
      let again = engine.open(second)
      try await until { engine.holding(of: second).memory == 0 }
      #expect(engine.holding(of: second).disk >= UInt64(size))
      rig.store.change { $0.fetched = [] }
      let bytes = try await again.bytes(at: 0, count: size)
      #expect(bytes == content(at: 0, count: size, seed: 2))
      #expect(rig.store.fetched.isEmpty)
      again.close()
    }
  }

  @Test func aFileIsEvictableOnceItIsClosedThoughMemoryHoldsTheRestOfIt() async throws {
    let rig = try EngineRig()
    let version = try await rig.put("object", size: 6 << 20)
    let engine = try rig.engine(cacheLimit: 4 << 20)
    defer { engine.shutdown() }
    let object = engine.open(version)
    for start in stride(from: UInt64(0), to: 6 << 20, by: 1 << 20) {
      _ = try await object.bytes(at: start, count: 1 << 20)
    }
    try await until { !engine.holding(of: version).isMoving }
    let holding = engine.holding(of: version)
    #expect(holding.memory > 0 && holding.disk > 0)
    let tick = engine.beginLoad()
    #expect(!engine.makeRoom(4 << 20, forLoadBegunAt: tick))
    object.close()
    #expect(engine.makeRoom(4 << 20, forLoadBegunAt: tick))
    // What memory holds is still there, and the rest is fetched again.
    let again = engine.open(version)
    let bytes = try await again.bytes(at: 0, count: 6 << 20)
    #expect(bytes == content(at: 0, count: 6 << 20))
    again.close()
  }

  /// Nearly all of a million files are open: opens and closes wait for the choice.
  @Test func aChoiceAmongOpenFilesLooksAtABoundedNumberAndGoesOnWhereItEnded() {
    var index = CacheIndex()
    var random = SeededGenerator(seed: 1)
    let files = 20_000
    for file in 0..<files {
      let id = FileID(number: UInt64(file))
      _ = index.open(id)
      index.set(id, bytes: 1)
    }
    index.close(FileID(number: 12_345))
    var (looks, most, rounds) = (0, 0, 0)
    let terms = CacheIndex.Terms(
      policy: .epoch, deadAfter: 0, nextUse: 1,
      nextUseOf: { _ in
        looks += 1
        return 9
      })
    while rounds < 30 {
      looks = 0
      rounds += 1
      let choice = index.chooseVictims(freeing: 1, terms, using: &random)
      most = max(most, looks)
      guard case .inUse = choice else {
        #expect(choice == .victims([.init(id: FileID(number: 12_345), bytes: 1)]))
        break
      }
    }
    #expect(most <= 2048 && rounds <= 21, "\(most) looks, \(rounds) rounds")
  }

  // MARK: Failures

  @Test func aReadWhoseTimeIsOverIsCountedWhereverThatIsFoundOut() async throws {
    let rig = try EngineRig()
    let version = try await rig.put("object", size: 100)
    // Over before its first step.
    let engine = try rig.engine(ioTimeout: .zero)
    let object = engine.open(version)
    await #expect(throws: Errno.ioError) { try await object.bytes(at: 0, count: 100) }
    #expect(rig.metrics.reads.timeouts.count == 1 && rig.metrics.reads.failures.count == 1)
    object.close()
    engine.shutdown()
  }
}
