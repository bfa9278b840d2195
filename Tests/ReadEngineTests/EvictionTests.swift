import ObjectStore
import Posix
import TestSupport
import Testing

@testable import ReadEngine

/// What a cache that is too small keeps: the policy and what it goes by, without a disk.
@Suite struct EvictionTests {
  /// Plays epochs over `files` files of one byte through a cache of `room`; the share of hits of the last.
  private func hits(
    _ policy: EvictionPolicy, files: Int, room: UInt64, epochs: Int, seed: UInt64,
    first: Int = 0, index: inout CacheIndex, reuse: inout ReuseMeter
  ) -> Double {
    var random = SeededGenerator(seed: seed)
    var hits = 0
    for epoch in 0..<epochs {
      for file in (first..<first + files).shuffled(using: &random) {
        let id = FileID(number: UInt64(file))
        let isHit = index.bytes(of: id)! > 0
        if epoch == epochs - 1, isHit { hits += 1 }
        _ = index.open(id)
        index.used(id)
        reuse.opened(UInt64(file) &* 0x9E37_79B9_7F4A_7C15, bytes: 1)
        if !isHit { admit(id, policy, room, &index, reuse, &random) }
        index.close(id)
      }
    }
    #expect(index.usedBytes <= room)
    return Double(hits) / Double(files)
  }

  private func admit(
    _ id: FileID, _ policy: EvictionPolicy, _ room: UInt64, _ index: inout CacheIndex,
    _ reuse: ReuseMeter, _ random: inout SeededGenerator
  ) {
    if index.usedBytes >= room {
      let terms = CacheIndex.Terms(policy: policy, deadAfter: reuse.deadAfter)
      guard case .victims(let victims) = index.chooseVictims(freeing: 1, terms, using: &random)
      else { return }
      for victim in victims { index.forget(victim.id) }
    }
    index.set(id, bytes: 1)
  }

  @Test func ofShuffledEpochsHalfIsFoundInHalfTheRoomAndByTheLeastRecentlyUsedLess() {
    for seed in 0..<5 as Range<UInt64> {
      var (index, reuse) = (CacheIndex(), ReuseMeter())
      let epoch = hits(
        .epoch, files: 2000, room: 1000, epochs: 4, seed: seed, index: &index, reuse: &reuse)
      #expect(epoch >= 0.49, "seed \(seed)")
      #expect((4...5).contains(reuse.epoch), "seed \(seed): epoch \(reuse.epoch)")
      var (other, otherReuse) = (CacheIndex(), ReuseMeter())
      let lru = hits(
        .lru, files: 2000, room: 1000, epochs: 4, seed: seed, index: &other, reuse: &otherReuse)
      #expect(lru < 0.4, "seed \(seed): \(lru)")
    }
  }

  /// The next data set takes over in its second epoch: then it is known that it comes back, and that the other
  /// did not.
  @Test func dataThatIsNoLongerReadMakesWayWithinTwoEpochs() {
    for (files, seed) in [(1000, 1), (3000, 2), (20_000, 3)] as [(Int, UInt64)] {
      var (index, reuse) = (CacheIndex(), ReuseMeter())
      let room = UInt64(files / 2)
      _ = hits(
        .epoch, files: files, room: room, epochs: 4, seed: seed, index: &index, reuse: &reuse)
      let third = hits(
        .epoch, files: files, room: room, epochs: 3, seed: seed + 9, first: files, index: &index,
        reuse: &reuse)
      #expect(third >= 0.33, "\(files) files: \(third)")
      let fourth = hits(
        .epoch, files: files, room: room, epochs: 1, seed: seed + 19, first: files, index: &index,
        reuse: &reuse)
      #expect(fourth >= 0.48, "\(files) files: \(fourth)")
    }
  }

  /// A validation set read five times in a row says nothing of the training set.
  @Test func aSmallSetReadInBetweenCostsTheOtherNothing() {
    for seed in 0..<3 as Range<UInt64> {
      var (index, reuse) = (CacheIndex(), ReuseMeter())
      var share = 0.0
      for round in 0..<5 as Range<UInt64> {
        share = hits(
          .epoch, files: 4000, room: 2000, epochs: 1, seed: seed * 100 + round, index: &index,
          reuse: &reuse)
        _ = hits(
          .epoch, files: 100, room: 2000, epochs: 5, seed: seed * 100 + 50 + round, first: 4000,
          index: &index, reuse: &reuse)
      }
      #expect(share >= 0.47, "seed \(seed): \(share)")
    }
  }

  /// After a start over a full cache of the same data, nothing is known of how it comes back.
  @Test func whatAnEarlierMountLeftStaysAsLongAsItIsRead() {
    for share in [0.1, 0.5, 0.9] {
      var (index, reuse) = (CacheIndex(), ReuseMeter())
      let room = UInt64(share * 3000)
      for file in 0..<Int(room) {
        index.discover(FileID(number: UInt64(file)), bytes: 1, secondsBefore: 60)
      }
      let first = hits(
        .epoch, files: 3000, room: room, epochs: 1, seed: 7, index: &index, reuse: &reuse)
      #expect(first >= share - 0.02, "\(share): \(first)")
      // Nothing of it is read: the next takes its place.
      var (other, otherReuse) = (CacheIndex(), ReuseMeter())
      for file in 0..<Int(room) {
        other.discover(FileID(number: UInt64(90_000 + file)), bytes: 1, secondsBefore: 60)
      }
      let next = hits(
        .epoch, files: 3000, room: room, epochs: 4, seed: 8, index: &other, reuse: &otherReuse)
      #expect(next >= share - 0.05, "\(share): \(next)")
    }
  }

  @Test func whatIsReadSoonestStaysWhereItIsKnown() {
    var random = SeededGenerator(seed: 4)
    var index = CacheIndex()
    let ids = (0..<20).map { FileID(number: UInt64($0)) }
    for id in ids {
      _ = index.open(id)
      index.set(id, bytes: 1)
      index.close(id)
    }
    func distance(_ id: FileID) -> Int? { id.high < 5 ? .max : Int(id.high) }
    for _ in 0..<10 {
      let terms = CacheIndex.Terms(
        policy: .epoch, deadAfter: 1 << 40, nextUse: 12, nextUseOf: distance)
      guard case .victims(let victims) = index.chooseVictims(freeing: 1, terms, using: &random)
      else { break }
      // Those that come last again first, then the farthest, and none that comes before what is to come.
      #expect(victims.allSatisfy { distance($0.id)! > 12 })
      for victim in victims { index.forget(victim.id) }
    }
    #expect(index.count == 10)
    let terms = CacheIndex.Terms(
      policy: .epoch, deadAfter: 1 << 40, nextUse: 19, nextUseOf: distance)
    let choice = index.chooseVictims(freeing: 1, terms, using: &random)
    #expect(choice == .keeps)
  }

  @Test func nothingGoesForBytesThatFindNoSpaceAllTheSame() {
    for seed in 0..<1000 {
      var random = SeededGenerator(seed: UInt64(seed))
      var index = CacheIndex()
      let ids = (0..<Int.random(in: 1...80, using: &random)).map { FileID(number: UInt64($0)) }
      var closed: UInt64 = 0
      for id in ids {
        _ = index.open(id)
        index.set(id, bytes: 2)
        if Bool.random(using: &random) {
          index.close(id)
          closed += 2
        }
      }
      let terms = CacheIndex.Terms(policy: .lru, deadAfter: 0)
      let choice = index.chooseVictims(
        freeing: closed + 1, partly: false, terms, using: &random)
      if case .victims(let victims) = choice { Issue.record("\(victims), seed \(seed)") }
      // What was looked at may be opened, or chosen, as before.
      guard closed > 0 else { continue }
      guard
        case .victims(let all) = index.chooseVictims(
          freeing: closed, partly: true, terms, using: &random)
      else {
        Issue.record("nothing is chosen any more, seed \(seed)")
        continue
      }
      #expect(!all.isEmpty)
    }
  }

  @Test func pinnedAndOpenFilesStay() {
    var random = SeededGenerator(seed: 4)
    var index = CacheIndex()
    let ids = (0..<100).map { FileID(number: UInt64($0)) }
    for id in ids {
      _ = index.open(id)
      index.set(id, bytes: 1)
    }
    let terms = CacheIndex.Terms(policy: .lru, deadAfter: 0)
    let choice = index.chooseVictims(freeing: 5, terms, using: &random)
    #expect(choice == .inUse)
    for id in ids { index.close(id) }
    for id in ids.prefix(60) {
      let isNew = index.pin(id, ofKey: id.high + 1, true)
      #expect(isNew)
    }
    while case .victims(let victims) = index.chooseVictims(freeing: 1, terms, using: &random) {
      for victim in victims { index.forget(victim.id) }
    }
    #expect(index.count == 60)
    let pinned = index.beginRemoval(of: ids[0])
    #expect(pinned == nil)
    let wasPinned = index.pin(ids[0], ofKey: 1, false)
    let taken = index.beginRemoval(of: ids[0])
    #expect(wasPinned && taken != nil)
  }

  @Test func aPinIsOfOneVersionOfAKey() {
    var index = CacheIndex()
    let (old, new, other) = (FileID(number: 1), FileID(number: 2), FileID(number: 3))
    let steps = [
      index.pin(old, ofKey: 7, true), index.pin(old, ofKey: 7, true),
      index.pin(other, ofKey: 8, true),
      index.pin(new, ofKey: 7, true), index.pin(old, ofKey: 7, false),
      index.pin(new, ofKey: 7, false),
    ]
    // Unpinning names the key: the version that is pinned there goes, whichever it is.
    #expect(steps == [true, false, true, true, true, false])
    #expect(index.pinned == [other: 8])
    // Of a list that knew no keys several stay.
    for id in [old, new] { _ = index.pin(id, ofKey: 0, true) }
    #expect(index.pinned == [other: 8, old: 0, new: 0])
    let isGone = index.pin(old, ofKey: 7, false)
    #expect(isGone && index.isPinned(new) && !index.isPinned(old))
    index.unpinAll()
    #expect(index.pinned.isEmpty)
  }

  @Test func pinsAreWrittenAndReadWithTheirKeysAndLinesOfBeforeWithout() throws {
    let scratch = try TemporaryFolder("pins")
    let path = scratch.path("pins")
    let folder = try PrivateFolder.open(scratch.path)
    let key = PinList.hash(of: ObjectKey("a/b"))
    try PinList.write([FileID(number: 1): key, FileID(number: 2): PinList.unknownKey], to: folder)
    let text = try readText(path)
    try writeFile(path, Array((text + "no name of a file\n").utf8))
    let pins = PinList.read(folder).sorted { $0.id.high < $1.id.high }
    #expect(pins.map(\.id) == [FileID(number: 1), FileID(number: 2)])
    #expect(pins.map(\.key) == [key, PinList.unknownKey])
    #expect(try PinList.read(PrivateFolder.open(scratch.path("none"))).isEmpty)
  }

  @Test func epochsAndTheirSizesAreCounted() {
    for files in [60, 700, 40_000] {
      var random = SeededGenerator(seed: UInt64(files))
      var meter = ReuseMeter()
      for _ in 0..<3 {
        for file in (0..<files).shuffled(using: &random) {
          // Twice at once, as libraries do that look at a head first.
          meter.opened(UInt64(file) &* 0x9E37_79B9_7F4A_7C15, bytes: 100)
          meter.opened(UInt64(file) &* 0x9E37_79B9_7F4A_7C15, bytes: 100)
        }
      }
      #expect(meter.epoch == 3, "\(files) files: epoch \(meter.epoch)")
      let share = Double(meter.workingSet.files) / Double(files)
      #expect((0.85...1.15).contains(share), "\(files) files: \(meter.workingSet)")
    }
  }

  @Test func fillGivesWayWhereReadersWaitLongerForIt() {
    var pace = FillPace(most: 64)
    for _ in 0..<30 { pace.noteDemand(firstByte: 0.02, fillInFlight: 0) }
    for _ in 0..<200 { pace.noteDemand(firstByte: 0.03, fillInFlight: 40) }
    #expect(pace.limit < 16)
    for _ in 0..<800 { pace.noteDemand(firstByte: 0.02, fillInFlight: 40) }
    #expect(pace.limit == 64)
  }
}
