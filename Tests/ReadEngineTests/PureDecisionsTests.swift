import ObjectStore
import Posix
import SystemPackage
import Testing

@testable import ReadEngine

/// What the engine decides with, held against plain models by the thousand seeds.
struct PureDecisionsTests {
  @Test func aStreamIsFoundByPositionWhoeverReadsIt() {
    var tracker = StreamTracker()
    let size: UInt64 = 1 << 40
    let starts: [UInt64] = [0, 10 << 30, 500 << 30]
    for round in 0..<40 {
      for start in starts {
        let from = start + UInt64(round) << 20
        let ahead = tracker.note(from..<from + 1 << 20, size: size, maxWindow: 64 << 20).ahead
        // What begins at the start with this much at once is a whole file being read, unless others read
        // elsewhere; then a tenth, and the kernel has 2 MiB of that.
        #expect(
          (ahead > 0) == (round >= 20 || start == 0 && round == 0),
          "round \(round) of the sequence at \(start)")
      }
    }
  }

  @Test func aHeadIsNoReasonToFetchWhatAFarLineHolds() {
    var tracker = StreamTracker()
    let size: UInt64 = 5 << 30
    let pipe: UInt64 = 64 << 20
    // What the kernel asks for when a program reads 100,000 bytes in pieces of 8 KiB.
    var ahead: UInt64 = 0
    for (start, end) in [(0, 32), (32, 160), (160, 416)] as [(UInt64, UInt64)] {
      ahead =
        tracker.note(start << 10..<end << 10, size: size, maxWindow: pipe, pipe: pipe).ahead
    }
    #expect(ahead <= 8 * 416 << 10)
    ahead = tracker.note(416 << 10..<1440 << 10, size: size, maxWindow: pipe, pipe: pipe).ahead
    #expect(ahead == pipe)
  }

  @Test func overtakingReadsStayInTheirStream() {
    var tracker = StreamTracker()
    let size: UInt64 = 1 << 40
    var order = Array(0..<64)
    for index in stride(from: 2, to: 62, by: 3) { order.swapAt(index, index + 1) }
    var misses = 0
    for index in order {
      let from = UInt64(index) << 20
      if tracker.note(from..<from + 1 << 20, size: size, maxWindow: 64 << 20).ahead == 0 {
        misses += 1
      }
    }
    #expect(misses <= 2)
  }

  @Test func scatteredReadsAreNoStream() {
    for seed in 0..<200 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      var tracker = StreamTracker()
      var ahead = 0
      for _ in 0..<100 {
        let from = UInt64.random(in: 0..<(1 << 40), using: &random)
        if tracker.note(from..<from + 4096, size: 1 << 41, maxWindow: 64 << 20).ahead > 0 {
          ahead += 1
        }
      }
      #expect(ahead == 0, "seed \(seed)")
    }
  }

  @Test func aWindowGrowsInStepsToItsLimitAndEndsWithTheObject() {
    var tracker = StreamTracker()
    let size: UInt64 = 300 << 20
    var last: UInt64 = 0
    for index in 0..<300 as Range<UInt64> {
      let end = (index + 1) << 20
      let ahead = tracker.note(index << 20..<end, size: size, maxWindow: 64 << 20).ahead
      #expect(ahead <= 64 << 20)
      #expect(end + ahead <= size)
      if end + (64 << 20) < size { #expect(ahead >= last) }
      last = ahead
    }
  }

  @Test func presenceMatchesAPlainSet() {
    for seed in 0..<300 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      let count = Int.random(in: 1...10_000, using: &random)
      var map = PresenceMap(pieceCount: count)
      var model: Set<Int> = []
      for _ in 0..<200 {
        let piece = Int.random(in: 0..<count, using: &random)
        if Bool.random(using: &random) {
          map.markTrusted(piece)
          model.insert(piece)
        } else {
          map.drop(piece)
          model.remove(piece)
        }
        #expect(map.isPresent(piece) == model.contains(piece), "seed \(seed)")
      }
      #expect(map.presentCount == model.count, "seed \(seed)")
      #expect(map.isWholeAndTrusted == (model.count == count), "seed \(seed)")
    }
  }

  @Test func aReaderWhoComesWhileAFetchIsPutBackIsNotForgotten() {
    final class Item: Schedulable {
      var isPromoted = false
      var passes = 0
    }
    for rank in [FetchRank.ahead, .planned, .fill] {
      var schedule = FetchSchedule<Item>(maxInFlight: 8, connections: 4)
      let item = Item()
      let wasAdded = schedule.add(item, rank)
      let turn = schedule.next()!
      #expect(wasAdded && turn.rank == rank)
      schedule.promote(item)
      schedule.putBack([turn])
      let second = schedule.next()
      #expect(second?.rank == .demand)
      // Nor one who comes before it was added.
      let other = Item()
      schedule.promote(other)
      _ = schedule.add(other, rank)
      let third = schedule.next()
      #expect(third?.rank == .demand)
    }
  }

  @Test func theMoreUrgentGoesFirstAndBoundsHold() {
    final class Item: Schedulable {
      let rank: FetchRank
      var isPromoted = false
      var passes = 0
      init(_ rank: FetchRank) { self.rank = rank }
    }
    for seed in 0..<2000 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      var schedule = FetchSchedule<Item>(maxInFlight: 16, connections: 5, maxAheadWaiting: 10)
      schedule.fillLimit = 6
      var waiting = [Int](repeating: 0, count: 4)
      var flying: [FetchKind] = []
      for _ in 0..<300 {
        switch Int.random(in: 0..<4, using: &random) {
        case 0, 1:
          let rank = FetchRank.allCases.randomElement(using: &random)!
          if schedule.add(Item(rank), rank) { waiting[rank.rawValue] += 1 }
        case 2:
          let isStream = Bool.random(using: &random)
          guard let turn = schedule.next(isStream: { _ in isStream }) else { continue }
          #expect(turn.rank == .demand || waiting[0] == 0, "seed \(seed)")
          if turn.rank == .fill {
            #expect(!flying.contains { $0.isStream && $0.rank <= .ahead }, "seed \(seed)")
          }
          waiting[turn.rank.rawValue] -= 1
          if Int.random(in: 0..<8, using: &random) == 0 {
            schedule.putBack([turn])
            waiting[turn.rank.rawValue] += 1
          } else {
            flying.append(turn.kind)
          }
        default:
          guard !flying.isEmpty else { continue }
          schedule.ended(flying.remove(at: Int.random(in: flying.indices, using: &random)))
        }
        func count(_ ranks: FetchRank...) -> Int { flying.count { ranks.contains($0.rank) } }
        #expect(schedule.inFlight == flying.count && flying.count <= 16, "seed \(seed)")
        #expect(count(.ahead) <= 4 && count(.planned, .fill) <= 14, "seed \(seed)")
        #expect(schedule.waiting == waiting.reduce(0, +) && waiting[1] <= 10, "seed \(seed)")
      }
    }
  }

  /// A cache of a version before stays valid: these names were made by Python's hashlib.
  @Test func theNameOfACacheFileNeverChanges() {
    func name(etag: String) -> String {
      FileID(
        store: "s3://bucket",
        version: ObjectVersion(key: ObjectKey("a/b"), etag: etag, size: 7, modified: 9)
      ).name
    }
    #expect(name(etag: "\"e\"") == "d880f1fa536fd58dedce6d995b360c8b")
    #expect(name(etag: "") == "1f45cead87a3f0fe30f1bd5f82dd55aa")
    #expect(FileID(name: name(etag: ""))?.name == name(etag: ""))
  }

  @Test func theIndexCountsLikeAPlainDictionaryAndNeverEvictsWhatIsOpen() {
    for seed in 0..<1000 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      var index = CacheIndex()
      var sizes: [FileID: UInt64] = [:]
      var opens: [FileID: Int] = [:]
      let ids = (0..<60).map { number in
        FileID(
          store: "s",
          version: ObjectVersion(key: ObjectKey("\(number)"), etag: "e", size: 1, modified: 0))
      }
      for _ in 0..<300 {
        let id = ids.randomElement(using: &random)!
        switch Int.random(in: 0..<5, using: &random) {
        case 0:
          if index.open(id) { opens[id, default: 0] += 1 }
          if sizes[id] == nil { sizes[id] = 0 }
        case 1:
          guard let count = opens[id], count > 0 else { continue }
          index.close(id)
          opens[id] = count - 1
          if count == 1, sizes[id] == 0 { sizes[id] = nil }
        case 2:
          guard (opens[id] ?? 0) > 0 else { continue }
          let bytes = UInt64.random(in: 1...1000, using: &random)
          index.grow(id, by: bytes)
          sizes[id]! += bytes
        case 3:
          let bytes = UInt64.random(in: 1...1000, using: &random)
          index.discover(id, bytes: bytes, secondsBefore: 5)
          if sizes[id] == nil { sizes[id] = bytes }
        default:
          let terms = CacheIndex.Terms(policy: .lru, deadAfter: 0)
          guard
            case .victims(let victims) = index.chooseVictims(freeing: 1500, terms, using: &random)
          else { continue }
          for victim in victims {
            #expect((opens[victim.id] ?? 0) == 0, "seed \(seed)")
            #expect(sizes[victim.id] == victim.bytes, "seed \(seed)")
            let opened = index.open(victim.id)
            #expect(!opened, "a dying file is not opened")
            index.forget(victim.id)
            sizes[victim.id] = nil
          }
        }
        #expect(index.usedBytes == sizes.values.reduce(0, +), "seed \(seed)")
        #expect(index.count == sizes.count, "seed \(seed)")
      }
    }
  }

  @Test func recordsAndStatesSurviveTheirEncodingAndGarbageIsRefused() {
    for seed in 0..<2000 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      let size = UInt64.random(in: 1...(1 << 20), using: &random)
      let record = SmallRecord(
        stamp: UInt32.random(in: 1...UInt32.max, using: &random), size: size,
        checksums: (0..<Geometry.pieceCount(ofSize: size)).map { _ in
          UInt32.random(in: 0...UInt32.max, using: &random)
        })
      var bytes = record.encoded
      #expect(bytes.withUnsafeBytes { SmallRecord($0) } == record, "seed \(seed)")
      bytes.removeLast(Int.random(in: 1...bytes.count, using: &random))
      #expect(bytes.withUnsafeBytes { SmallRecord($0) } == nil, "seed \(seed)")
      let noise = (0..<Int.random(in: 0...200, using: &random)).map { _ in
        UInt8.random(in: 0...255, using: &random)
      }
      #expect(noise.withUnsafeBytes { SmallRecord($0) } == nil, "seed \(seed)")
      #expect(FolderState(text: String(decoding: noise, as: UTF8.self)) == nil, "seed \(seed)")
    }
    let state = FolderState(boot: "a-b", isClean: true, 7, 3)
    #expect(FolderState(text: state.text) == state)
  }

  @Test func eachMountHasAGenerationOfItsOwnAndTrustsWhatAnUnmountOrTheSameBootVouchesFor() {
    func next(_ old: FolderState?, boot: String? = "now") -> FolderState {
      FolderState(after: old, boot: boot, now: 1_700_000_000, store: "s")
    }
    let clean = FolderState(boot: "before", isClean: true, 7, 3)
    #expect(next(clean).trusted == 3...8 && !next(clean).isClean)
    // Its state file was lost with the power: the records of generation 8 are above those vouched for.
    #expect(!clean.trusted.contains(8))
    #expect(next(FolderState(boot: "now", isClean: false, 7, 3)).trusted == 3...8)
    #expect(next(FolderState(boot: "before", isClean: false, 7, 3)).trusted == 8...8)
    let unknown = FolderState(boot: FolderState.unknownBoot, isClean: false, 7, 3)
    #expect(next(unknown, boot: nil).trusted == 8...8)
    // Nothing is known, or no generation is left: no record that may be there is trusted.
    #expect(next(nil).trusted == 1_700_000_000...1_700_000_000)
    let last = FolderState(boot: "now", isClean: true, .max, 1)
    #expect(next(last).trusted == 1_700_000_000...1_700_000_000)
    #expect(FolderState(text: "boot a\nclean 1\ngeneration 3\ntrusted-from 4\n") == nil)
  }

  @Test func onlyAMissingRecordMeansThatThereIsNone() {
    for reason in [Errno.noData, .notSupported, .outOfRange] {
      #expect(CacheFile.meansNoRecord(reason))
    }
    for reason in [Errno.ioError, .noMemory, .permissionDenied, .interrupted] {
      #expect(!CacheFile.meansNoRecord(reason))
    }
  }

  @Test func checksumsAreCRC32C() {
    // RFC 3720, appendix B.4.
    let zeros = [UInt8](repeating: 0, count: 32)
    #expect(zeros.withUnsafeBytes { PieceRecord.crc(of: $0) } == 0x8A91_36AA)
    let ascending = [UInt8](0..<32)
    #expect(ascending.withUnsafeBytes { PieceRecord.crc(of: $0) } == 0x46DD_794E)
  }

  @Test func checksumsOfWholePiecesAreThoseOfTheirBytesInOrder() {
    for seed in 0..<20 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      let count =
        seed == 0 ? Geometry.pieceSize : Int.random(in: 1...Geometry.pieceSize, using: &random)
      let bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
      var plain = ~UInt32(0)
      for byte in bytes {
        plain ^= UInt32(byte)
        for _ in 0..<8 { plain = plain & 1 == 1 ? (plain >> 1) ^ 0x82F6_3B78 : plain >> 1 }
      }
      #expect(bytes.withUnsafeBytes { PieceRecord.crc(of: $0) } == ~plain, "seed \(seed)")
    }
  }

  @Test func fileNamesComeBackAndDifferByEveryPartOfAVersion() {
    let base = ObjectVersion(key: ObjectKey("a/b"), etag: "x", size: 3, modified: 5)
    var others = [base]
    others.append(ObjectVersion(key: ObjectKey("a/bx"), etag: "", size: 3, modified: 5))
    others.append(ObjectVersion(key: ObjectKey("a/c"), etag: "x", size: 3, modified: 5))
    others.append(ObjectVersion(key: ObjectKey("a/b"), etag: "y", size: 3, modified: 5))
    others.append(ObjectVersion(key: ObjectKey("a/b"), etag: "x", size: 4, modified: 5))
    others.append(ObjectVersion(key: ObjectKey("a/b"), etag: "", size: 3, modified: 6))
    let ids = others.map { FileID(store: "s", version: $0) }
    #expect(Set(ids).count == ids.count)
    #expect(FileID(store: "t", version: base) != ids[0])
    for id in ids { #expect(FileID(name: id.name) == id) }
    #expect(FileID(name: "zz") == nil)
  }

  @Test func arrivalsInFetchesFillPiecesInOrder() {
    #expect(Geometry.pieces(covering: 0..<1) == 0..<1)
    #expect(Geometry.pieces(covering: 131_071..<131_073) == 0..<2)
    #expect(Geometry.bytes(ofPieces: 1..<3, size: 300_000) == 131_072..<300_000)
    #expect(Geometry.pieceCount(ofSize: 0) == 0)
    #expect(Geometry.pieceCount(ofSize: 131_072) == 1)
  }
}
