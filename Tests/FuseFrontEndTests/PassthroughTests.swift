import CFuseShim
import Glibc
import Posix
import Synchronization
import Testing

@testable import FuseFrontEnd

/// What is decided about kernel passthrough, and the bytes of INIT that ask for it.
struct PassthroughTests {
  @Test func oneModeAndOneIdForAnInodeAsLongAsAnyOpenLives() {
    for seed in 0..<1000 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      var modes = InodeModes()
      var open: [UInt64: (count: Int, id: Int32)] = [:]
      var live: Set<Int32> = []
      var nextID: Int32 = 1
      for _ in 0..<300 {
        let node = UInt64.random(in: 1...6, using: &random)
        if Bool.random(using: &random) {
          let isWhole = Bool.random(using: &random)
          var wasAsked = false
          let id = modes.open(node) {
            wasAsked = true
            guard isWhole else { return 0 }
            defer { nextID += 1 }
            return nextID
          }
          #expect(wasAsked == (open[node] == nil), "seed \(seed)")
          if let known = open[node] {
            #expect(id == known.id, "seed \(seed)")
            open[node]!.count += 1
          } else {
            open[node] = (1, id)
            if id > 0 { live.insert(id) }
          }
        } else if let known = open[node] {
          let returned = modes.release(node)
          if known.count > 1 {
            #expect(returned == 0, "seed \(seed)")
            open[node]!.count -= 1
          } else {
            #expect(returned == known.id, "seed \(seed)")
            open[node] = nil
            live.remove(returned)
          }
        }
        #expect(modes.count == open.count, "seed \(seed)")
        #expect(modes.passedThrough == live.count, "seed \(seed)")
      }
    }
  }

  /// fuse_in_header and fuse_init_in with the given second word of flags.
  private func request(opcode: UInt32 = 26, flags2: UInt32) -> [UInt8] {
    var words = [UInt32](repeating: 0, count: 26)
    words[1] = opcode
    words[14] = flags2
    return words.flatMap { word in withUnsafeBytes(of: word) { Array($0) } }
  }

  private func patched(
    _ outcome: PassthroughHandshake.Outcome, length: Int = 64
  ) -> [UInt32] {
    var header = [UInt32](repeating: 0, count: 4)
    var body = [UInt32](repeating: 0, count: length / 4)
    header.withUnsafeMutableBytes { header in
      body.withUnsafeMutableBytes { body in
        var vectors = [
          iovec(iov_base: header.baseAddress, iov_len: header.count),
          iovec(iov_base: body.baseAddress, iov_len: body.count),
        ]
        vectors.withUnsafeMutableBufferPointer { PassthroughHandshake.patch($0, outcome) }
      }
    }
    return body
  }

  @Test func theWishIsAddedWhereTheKernelCanAndNowhereElse() {
    for (flags2, depth, length) in [
      (1 << 5, 1, 64), (1 << 5, 2, 64), (0, 1, 64), (1 << 5, 0, 64), (1 << 5, 1, 24),
    ] as [(UInt32, UInt32, Int)] {
      let outcome = PassthroughHandshake.Outcome(stackDepth: depth)
      request(flags2: flags2).withUnsafeBytes { PassthroughHandshake.look(at: $0, outcome) }
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
    let outcome = PassthroughHandshake.Outcome(stackDepth: 1)
    request(opcode: 1, flags2: 1 << 5).withUnsafeBytes {
      PassthroughHandshake.look(at: $0, outcome)
    }
    [UInt8](repeating: 255, count: 12).withUnsafeBytes {
      PassthroughHandshake.look(at: $0, outcome)
    }
    let isOffered = outcome.isOffered.load(ordering: .relaxed)
    #expect(!isOffered)
  }
}
