import LinkServer
import Posix
import TestSupport
import Testing

extension MountTests {
  /// Epochs over a cache on disk of half the data set.
  @Suite struct Evicting {
    /// A file takes 24 KiB on disk at most: its attributes in a block of their own, or in its inode.
    private static let footprint = 24 << 10
    private static let files = 600
    private static let data = files * PrefetchRig.size

    private func rig(_ options: [String] = []) throws -> PrefetchRig {
      try PrefetchRig(
        [
          "--fill", "off", "--cache-size", "\(Self.files / 2 * Self.footprint)",
          "--memory-limit", "16M",
        ] + options, files: Self.files)
    }

    /// Reads an epoch; returns the bytes that the store gave for it, as a share of the data, and the share of
    /// its files that the disk had.
    private func readEpoch(
      _ order: [Int], _ rig: PrefetchRig
    ) throws -> (store: Double, disk: Double) {
      let before = rig.server.bytesSent
      let onDisk = try rig.mount.stats().number("filesOpenedFromDisk")
      for index in order {
        let bytes = try readFile("\(rig.mount.path)/d/\(1000 + index).bin")
        #expect(
          bytes.count == PrefetchRig.size
            && bytes.allSatisfy { $0 == UInt8(truncatingIfNeeded: index) })
      }
      let found = try rig.mount.stats().number("filesOpenedFromDisk") - onDisk
      // A listing or two is in it.
      return (
        Double(rig.server.bytesSent - before) / Double(Self.data),
        Double(found) / Double(Self.files)
      )
    }

    @Test func halfOfAShuffledEpochIsFoundInACacheOfHalfTheData() throws {
      let rig = try rig()
      defer { rig.server.stop() }
      var random = SeededGenerator(seed: 11)
      var shares: [(store: Double, disk: Double)] = []
      for _ in 0..<3 {
        let order = Array(0..<Self.files).shuffled(using: &random)
        shares.append(try readEpoch(order, rig))
      }
      // The least memory there can be holds some of what the disk does not: the disk's share tells the policy.
      #expect(shares[2].store <= 0.55 && shares[2].disk >= 0.45, "\(shares)")
      let stats = try rig.mount.stats()
      #expect(try stats.number("filesReadPast") > 0)
      try rig.mount.unmount()
    }

    @Test func halfOfAnOrderedEpochIsFoundInACacheOfHalfTheData() throws {
      let rig = try rig(["--order-window", "128K"])
      defer { rig.server.stop() }
      var random = SeededGenerator(seed: 12)
      var shares: [(store: Double, disk: Double)] = []
      for _ in 0..<3 {
        let order = Array(0..<Self.files).shuffled(using: &random)
        let text = order.map { "d/\(1000 + $0).bin\n" }.joined()
        try writeFile(rig.mount.path + "/.millrace/order", Array(text.utf8))
        shares.append(try readEpoch(order, rig))
      }
      #expect(shares[2].store <= 0.55, "\(shares)")
      try rig.mount.unmount()
    }
  }
}
