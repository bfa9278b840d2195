import CFuseShim
import Glibc
import Posix
import Synchronization
import Testing

@testable import FuseFrontEnd

/// Leases of open inodes, which no array can hold.
private final class LeaseShelf {
  private final class Box {
    var lease: InodeLease?
    init(_ lease: consuming InodeLease) { self.lease = consume lease }
  }
  private var boxes: [UInt64: [Box]] = [:]

  func put(_ lease: consuming InodeLease) {
    let node = lease.node
    boxes[node, default: []].append(Box(lease))
  }

  func take(_ node: UInt64) -> InodeLease? {
    guard let box = boxes[node]?.popLast() else { return nil }
    return box.lease.take()
  }
}

/// What is decided about kernel passthrough, and the bytes of INIT that ask for it.
struct PassthroughTests {
  /// Random opens, releases, forgets and pressure, compared with a plain account of what the kernel
  /// was given: an id is live from its registration until it is handed out, once, to be given back.
  @Test func oneModeAndOneIdForAnInodeAndABoundedNumberKept() {
    for seed in 0..<1000 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      let limit = Int.random(in: 0...4, using: &random)
      var modes = BackingFileRegistry<UInt64>(limit: limit)
      var open: [UInt64: (count: Int, id: Int32)] = [:]
      /// Whose each registered id is.
      var live: [Int32: UInt64] = [:]
      var descriptors: [UInt64: CInt] = [:]
      var nextID: Int32 = 1
      /// One an open; the compiler lets none be released twice.
      let leases = LeaseShelf()
      func giveBack(_ kept: BackingFileRegistry<UInt64>.Kept?) {
        guard let kept else { return }
        #expect(live.removeValue(forKey: kept.backingID) == kept.hold, "seed \(seed)")
        #expect(open[kept.hold] == nil || open[kept.hold]?.id != kept.backingID, "seed \(seed)")
      }
      for _ in 0..<400 {
        let node = UInt64.random(in: 1...6, using: &random)
        switch Int.random(in: 0..<20, using: &random) {
        case 0..<9:
          // Whole on disk or not, and now and then another file.
          if Int.random(in: 0..<4, using: &random) == 0 {
            descriptors[node] = Bool.random(using: &random) ? nextID : nil
          }
          let descriptor = descriptors[node]
          let before = live
          var dropped: BackingFileRegistry<UInt64>.Kept?
          let lease = modes.open(node, descriptor: descriptor, dropped: &dropped) {
            guard let descriptor else { return nil }
            defer { nextID += 1 }
            live[nextID] = node
            return .init(backingID: nextID, descriptor: descriptor, hold: node)
          }
          let id = lease.backingID
          leases.put(lease)
          giveBack(dropped)
          if let known = open[node] {
            #expect(id == known.id && live == before, "seed \(seed)")
          } else {
            #expect((id > 0) == (descriptor != nil), "seed \(seed)")
            #expect(id == 0 || live[id] == node, "seed \(seed)")
          }
          open[node] = ((open[node]?.count ?? 0) + 1, id)
        case 9..<18:
          guard let known = open[node] else { continue }
          open[node] = known.count > 1 ? (known.count - 1, known.id) : nil
          if let lease = leases.take(node) { giveBack(modes.release(lease)) }
        case 18: giveBack(modes.forget(node))
        default: for kept in modes.removeIdle() { giveBack(kept) }
        }
        #expect(modes.openCount == open.count, "seed \(seed)")
        #expect(modes.backingCount == live.count, "seed \(seed)")
        #expect(modes.idleCount <= limit && modes.queueLength <= 2 * limit + 65, "seed \(seed)")
        #expect(live.values.allSatisfy { modes.idleCount > 0 || open[$0] != nil }, "seed \(seed)")
      }
    }
  }

  @Test func theIdOfTheLeastRecentlyUsedFileGoesFirstAndTheOthersAreUsedAgain() {
    var modes = BackingFileRegistry<UInt64>(limit: 2)
    func touch(_ node: UInt64) -> (id: Int32, gone: UInt64?) {
      var dropped: BackingFileRegistry<UInt64>.Kept?
      let lease = modes.open(node, descriptor: 1, dropped: &dropped) {
        .init(backingID: Int32(node), descriptor: 1, hold: node)
      }
      let id = lease.backingID
      return (id, modes.release(lease)?.hold)
    }
    #expect(touch(1).gone == nil)
    #expect(touch(2).gone == nil)
    #expect(touch(1).gone == nil)
    #expect(touch(3).gone == 2)
    var dropped: BackingFileRegistry<UInt64>.Kept?
    let again = modes.open(1, descriptor: 1, dropped: &dropped) {
      Issue.record("the kept id was not used")
      return nil
    }
    let id = again.backingID
    #expect(id == 1)
    _ = modes.release(again)
  }

  /// fuse_in_header and fuse_init_in with the given second word of flags.
  private func request(opcode: UInt32 = 26, flags2: UInt32) -> [UInt8] {
    var words = [UInt32](repeating: 0, count: 26)
    words[1] = opcode
    words[14] = flags2
    return words.flatMap { word in withUnsafeBytes(of: word) { Array($0) } }
  }

  private func patched(
    _ outcome: PassthroughNegotiation.Outcome, length: Int = 64
  ) -> [UInt32] {
    var header = [UInt32](repeating: 0, count: 4)
    var body = [UInt32](repeating: 0, count: length / 4)
    header.withUnsafeMutableBytes { header in
      body.withUnsafeMutableBytes { body in
        var vectors = [
          iovec(iov_base: header.baseAddress, iov_len: header.count),
          iovec(iov_base: body.baseAddress, iov_len: body.count),
        ]
        vectors.withUnsafeMutableBufferPointer { PassthroughNegotiation.patch($0, outcome) }
      }
    }
    return body
  }

  @Test func theWishIsAddedWhereTheKernelCanAndNowhereElse() {
    for (flags2, depth, length) in [
      (1 << 5, 1, 64), (1 << 5, 2, 64), (0, 1, 64), (1 << 5, 0, 64), (1 << 5, 1, 24),
    ] as [(UInt32, UInt32, Int)] {
      let outcome = PassthroughNegotiation.Outcome(stackDepth: depth)
      request(flags2: flags2).withUnsafeBytes { PassthroughNegotiation.inspect($0, outcome) }
      let body = patched(outcome, length: length)
      var expected = [UInt32](repeating: 0, count: length / 4)
      if flags2 != 0, depth > 0, length == 64 {
        expected[3] = 1 << 30
        expected[8] = 1 << 5
        expected[9] = depth
      }
      #expect(body == expected)
      let isAskedFor = outcome.isAskedFor.load(ordering: .relaxed)
      #expect(isAskedFor == (expected.count > 9 && expected[9] > 0))
    }
  }

  @Test func onlyInitIsLookedAt() {
    let outcome = PassthroughNegotiation.Outcome(stackDepth: 1)
    request(opcode: 1, flags2: 1 << 5).withUnsafeBytes {
      PassthroughNegotiation.inspect($0, outcome)
    }
    [UInt8](repeating: 255, count: 12).withUnsafeBytes {
      PassthroughNegotiation.inspect($0, outcome)
    }
    let isOffered = outcome.isOffered.load(ordering: .relaxed)
    #expect(!isOffered)
  }
}
