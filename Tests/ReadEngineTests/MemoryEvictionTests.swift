import Glibc
import ObjectStore
import Posix
import ReadEngine
import Testing

/// What is found in memory alone, with room for half of what is read.
@Suite(.serialized) struct MemoryEvictionTests {
  private static let piece = 128 << 10
  private static let files = 160

  /// Share of each of `epochs` shuffled epochs that was found, each file a piece.
  private func epochs(
    _ count: Int, _ policy: EvictionPolicy, seed: UInt64, ordered: Bool = false
  ) async throws -> [Double] {
    let rig = try EngineRig()
    var versions: [ObjectVersion] = []
    for file in 0..<Self.files {
      versions.append(
        try await rig.put("\(file)", size: Self.piece, seed: UInt8(truncatingIfNeeded: file)))
    }
    let engine = try rig.engine(
      memory: Self.files / 2 * Self.piece, disk: false, eviction: policy)
    defer { engine.shutdown() }
    let places = Lock<[UInt64: Int]>([:])
    if ordered { engine.onNextUse { hash in places.withLock { $0[hash] } } }
    var random = SeededGenerator(seed: seed)
    var shares: [Double] = []
    for _ in 0..<count {
      let order = Array(0..<Self.files).shuffled(using: &random)
      if ordered {
        places.withLock { places in
          for (place, file) in order.enumerated() {
            places[engine.hash(of: versions[file])] = place
          }
        }
      }
      let before = rig.store.bytesFetched
      for file in order {
        let object = engine.open(versions[file])
        // Read: it comes last again.
        if ordered { places.withLock { $0[object.hash] = .max } }
        let bytes = try await object.bytes(at: 0, count: Self.piece)
        #expect(
          bytes == content(at: 0, count: Self.piece, seed: UInt8(truncatingIfNeeded: file)))
        object.close()
      }
      let fetched = Double(rig.store.bytesFetched - before)
      shares.append(1 - fetched / Double(Self.files * Self.piece))
    }
    return shares
  }

  @Test(arguments: [1, 2] as [UInt64])
  func ofShuffledEpochsHalfIsFoundInHalfTheMemory(seed: UInt64) async throws {
    let epoch = try await epochs(4, .epoch, seed: seed)
    #expect(epoch[2] >= 0.45 && epoch[3] >= 0.45, "seed \(seed): \(epoch)")
    let lru = try await epochs(4, .lru, seed: seed)
    let most = EvictionPolicy.lru.foundShare(ofCache: 0.5) + 0.08
    #expect(lru[2] <= most && lru[3] <= most, "seed \(seed): \(lru)")
  }

  @Test func ofAnOrderedEpochHalfIsFoundInHalfTheMemory() async throws {
    let shares = try await epochs(4, .epoch, seed: 3, ordered: true)
    #expect(shares[2] >= 0.4 && shares[3] >= 0.4, "\(shares)")
  }

  @Test func ofAFileReadOverAndOverSomeIsFound() async throws {
    let rig = try EngineRig()
    let size = 32 << 20
    let version = try await rig.put("large", size: size)
    let engine = try rig.engine(memory: size / 2, disk: false)
    defer { engine.shutdown() }
    let chunk = 64 << 10
    var shares: [Double] = []
    for _ in 0..<4 {
      let before = rig.store.bytesFetched
      let object = engine.open(version)
      for start in stride(from: 0, to: size, by: chunk) {
        let bytes = try await object.bytes(at: UInt64(start), count: chunk)
        #expect(bytes == content(at: UInt64(start), count: chunk))
      }
      object.close()
      shares.append(1 - Double(rig.store.bytesFetched - before) / Double(size))
    }
    // Nothing that was fetched ahead went before it was read: it would be fetched again.
    #expect(shares[0] >= -0.05, "\(shares)")
    #expect(shares[2] >= 0.15 && shares[3] >= 0.15, "\(shares)")
  }

  @Test func whatIsFetchedAheadStaysUntilItIsRead() async throws {
    let rig = try EngineRig()
    var versions: [ObjectVersion] = []
    for file in 0..<120 {
      versions.append(
        try await rig.put("\(file)", size: Self.piece, seed: UInt8(truncatingIfNeeded: file)))
    }
    // 64 blocks, of which read-ahead leaves 16 to demand.
    let engine = try rig.engine(memory: 64 * Self.piece, disk: false)
    defer { engine.shutdown() }
    func read(_ file: Int) async throws {
      let object = engine.open(versions[file])
      let bytes = try await object.bytes(at: 0, count: Self.piece)
      #expect(bytes == content(at: 0, count: Self.piece, seed: UInt8(truncatingIfNeeded: file)))
      object.close()
    }
    for file in 0..<60 { try await read(file) }
    let ahead = 60..<90
    for file in ahead { engine.prefetch(versions[file], .planned) { _ in } }
    try await until {
      ahead.allSatisfy { engine.holding(of: versions[$0]).memory == UInt64(Self.piece) }
    }
    for file in 90..<120 { try await read(file) }
    let before = rig.store.fetched.count
    for file in ahead { try await read(file) }
    #expect(rig.store.fetched.count == before)
  }
}
