import LinkServer
import Posix
import TestSupport
import Testing

extension MountTests {
  /// Epochs over a cache on disk of half the data set.
  @Suite struct Evicting {
    /// A file takes 24 KiB on disk: its blocks, and its attributes in one more or in its inode.
    private static let footprint = 24 << 10
    private static let data = PrefetchRig.files * PrefetchRig.size

    private func rig(_ options: [String] = []) throws -> PrefetchRig {
      try PrefetchRig(
        [
          "--fill", "off", "--cache-size", "\(PrefetchRig.files / 2 * Self.footprint)",
          "--memory-limit", "16M",
        ] + options)
    }

    /// Reads an epoch; returns the bytes that the store gave for it, as a share of the data.
    private func readEpoch(_ order: [Int], _ rig: PrefetchRig) throws -> Double {
      let before = rig.server.bytesSent
      for index in order {
        let bytes = try readFile("\(rig.mount.path)/d/\(1000 + index).bin")
        #expect(
          bytes.count == PrefetchRig.size
            && bytes.allSatisfy { $0 == UInt8(truncatingIfNeeded: index) })
      }
      // A listing or two is in it.
      return Double(rig.server.bytesSent - before) / Double(Self.data)
    }

    @Test func halfOfAShuffledEpochIsFoundInACacheOfHalfTheData() throws {
      let rig = try rig()
      defer { rig.server.stop() }
      var random = SeededGenerator(seed: 11)
      var shares: [Double] = []
      for _ in 0..<3 {
        let order = Array(0..<PrefetchRig.files).shuffled(using: &random)
        shares.append(try readEpoch(order, rig))
      }
      #expect(shares[2] <= 0.55, "\(shares)")
      let stats = try rig.mount.stats()
      #expect(try stats.number("filesReadPast") > 0)
      try rig.mount.unmount()
    }

    @Test func halfOfAnOrderedEpochIsFoundInACacheOfHalfTheData() throws {
      let rig = try rig(["--order-window", "128K"])
      defer { rig.server.stop() }
      var random = SeededGenerator(seed: 12)
      var shares: [Double] = []
      for _ in 0..<3 {
        let order = Array(0..<PrefetchRig.files).shuffled(using: &random)
        let text = order.map { "d/\(1000 + $0).bin\n" }.joined()
        try writeFile(rig.mount.path + "/.millrace/order", Array(text.utf8))
        shares.append(try readEpoch(order, rig))
      }
      #expect(shares[2] <= 0.55, "\(shares)")
      try rig.mount.unmount()
    }
  }
}
