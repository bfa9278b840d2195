import Glibc
import Metrics
import ObjectStore
import Posix
import SystemPackage
import Testing

@testable import ReadEngine

/// What is known of the pieces on disk, of objects whose records are read by need.
@Suite struct PresenceTests {
  /// Records in memory that count how often they are read.
  private final class Records: PresenceRecords {
    let present: Set<Int>
    let trusted: Set<Int>
    let reads = Lock<[Int]>([])

    init(present: Set<Int>, trusted: Set<Int>) {
      self.present = present
      self.trusted = trusted
    }

    func segment(_ index: Int) -> PresenceMap.Segment {
      reads.withLock { $0.append(index) }
      var segment = PresenceMap.Segment()
      let first = index * PresenceMap.piecesPerSegment
      for piece in present where piece / PresenceMap.piecesPerSegment == index {
        segment.set(piece - first, isPresent: true, isTrusted: trusted.contains(piece))
      }
      return segment
    }

    func nextSegment(from index: Int) -> Int? {
      present.map { $0 / PresenceMap.piecesPerSegment }.filter { $0 >= index }.min()
    }
  }

  @Test("records that were not read yet are never overlooked, whatever is asked or changed first")
  func mapOverRecordsMatchesAPlainSet() {
    for seed in 0..<60 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      let count = Int.random(in: 1...60_000, using: &random)
      func some() -> Set<Int> {
        Set((0..<100).map { _ in Int.random(in: 0..<count, using: &random) })
      }
      var present = some()
      var trusted = present.intersection(some())
      if let one = present.first { trusted.insert(one) }
      let records = Records(present: present, trusted: trusted)
      var map = PresenceMap(pieceCount: count, isRecorded: true)
      for _ in 0..<100 {
        let piece = Int.random(in: 0..<count, using: &random)
        // Before the change, or after it: what was recorded is the same.
        let isLate = Bool.random(using: &random)
        if !isLate { map.load(records.load(map.unknownSegments(of: piece..<piece + 1))) }
        switch Int.random(in: 0..<3, using: &random) {
        case 0:
          map.markTrusted(piece)
          present.insert(piece)
          trusted.insert(piece)
        case 1:
          map.drop(piece)
          present.remove(piece)
          trusted.remove(piece)
        default: break
        }
        if isLate { map.load(records.load(map.unknownSegments(of: piece..<piece + 1))) }
        #expect(map.isKnown(piece), "seed \(seed)")
        #expect(map.isPresent(piece) == present.contains(piece), "seed \(seed)")
        #expect(map.isTrusted(piece) == trusted.contains(piece), "seed \(seed)")
      }
      map.load(records.loadAll())
      #expect((map.wholeness == .whole) == (present.count == count), "seed \(seed)")
      #expect(map.presentPieces == present.sorted(), "seed \(seed)")
      #expect(map.presentCount == present.count, "seed \(seed)")
      #expect(map.trustedCount == trusted.count, "seed \(seed)")
    }
  }

  @Test("an object of 8 PiB costs nothing until it is used, and then what is used of it")
  func hugeMapsAreLazy() {
    let count = Geometry.pieceCount(ofSize: 1 << 53)
    let records = Records(present: [0, count - 1], trusted: [count - 1])
    var map = PresenceMap(pieceCount: count, isRecorded: true)
    #expect(map.wholeness == .unknown(segment: 0) && !map.isKnown(0))
    map.load(records.load(map.unknownSegments(of: count - 1..<count)))
    #expect(map.isTrusted(count - 1) && !map.isKnown(0))
    map.load(records.load([0]))
    #expect(!map.isTrusted(0) && map.isPresent(0) && map.wholeness == .partial)
    #expect(records.reads.withLock { $0.count } == 2)
    map.load(records.loadAll(for: map))
    #expect(map.presentPieces == [0, count - 1] && map.isAllKnown)
    #expect(records.reads.withLock { $0.count } == 2)
    var empty = PresenceMap(pieceCount: count)
    empty.markTrusted(count / 2)
    #expect(empty.presentPieces == [count / 2] && empty.wholeness == .partial)
  }

  @Test("who finds an old copy wrong does not remove the one that took its place")
  func aNewCopyOutlivesTheVerdictOnTheOld() async throws {
    for size in [100_000, 3 << 20] {
      let rig = try EngineRig()
      let version = try await rig.put("object", size: size)
      let engine = try rig.engine()
      let object = engine.services.open(version)
      let reader = engine.open(version)
      func copy() async throws -> CacheFile {
        _ = try await reader.bytes(at: 0, count: 1000)
        try await until {
          object.withState { $0.file != nil } && engine.holding(of: version).disk > 0
        }
        return try #require(object.withState { $0.file })
      }
      let old = try await copy()
      object.copyOnDisk.drop([0], of: old, refusing: size > 1 << 20)
      #expect(object.withState { $0.file == nil })
      #expect(engine.holding(of: version).disk == 0)
      guard size <= 1 << 20 else {
        engine.services.close(object)
        reader.close()
        engine.shutdown()
        continue
      }
      _ = try await copy()
      object.copyOnDisk.drop([0], of: old, refusing: false)
      #expect(object.withState { $0.file != nil })
      #expect(engine.holding(of: version).disk > 0)
      #expect(files(under: rig.cache).contains { $0.contains("/objects/") })
      engine.services.close(object)
      reader.close()
      engine.shutdown()
    }
  }

  @Test("of an object over 32 GiB nothing is fetched again after a restart")
  func largeObjectsAreKept() async throws {
    let rig = try EngineRig()
    let path = rig.source + "/large"
    let file = open(path, O_WRONLY | O_CREAT, 0o600)
    #expect(ftruncate(file, 40 << 30) == 0)
    close(file)
    let version = try await rig.version(of: "large")
    let border: UInt64 = 512 << 20
    func read(_ engine: ReadEngine) async throws {
      let object = engine.open(version)
      defer { object.close() }
      // A sequence over the border of two segments, then places behind it.
      for offset in stride(from: border - 12 << 20, to: border + 12 << 20, by: 1 << 20) {
        #expect(try await object.bytes(at: offset, count: 1 << 20).count == 1 << 20)
      }
      for offset in [600, 700, 800, 900, 35_000] as [UInt64] {
        #expect(try await object.bytes(at: offset << 20, count: 1 << 20).count == 1 << 20)
      }
    }
    var engine = try rig.engine()
    try await read(engine)
    // Read-ahead is still on its way, and then on its way to the disk.
    let metrics = rig.metrics
    try await until {
      engine.usage().fetchesInFlight == 0
        && metrics.cache.bytesWritten.count >= rig.store.bytesFetched
    }
    engine.shutdown()
    let kept = rig.store.fetched
    for _ in 0..<2 {
      rig.store.change { $0.fetched = [] }
      engine = try rig.engine()
      try await read(engine)
      #expect(engine.residence(of: version) == .partial)
      engine.shutdown()
      let again = rig.store.fetched.filter { fetch in kept.contains { $0.overlaps(fetch) } }
      #expect(again.isEmpty)
    }
  }
}
