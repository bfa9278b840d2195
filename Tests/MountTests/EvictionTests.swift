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
          "--prefetch", "off", "--cache-size", "\(Self.files / 2 * Self.footprint)",
          "--memory-limit", "16M",
        ] + options, files: Self.files, link: .loopback)
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
      #expect(try stats.number("cacheBypassedFiles") > 0)
      try rig.mount.unmount()
    }

    @Test func halfOfAnOrderedEpochIsFoundInACacheOfHalfTheData() throws {
      let rig = try rig(["--prefetch-window", "128K"])
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

    /// What is read of a file in pieces is read next, wherever an order has the file once more.
    @Test func anOrderOfLargeFilesThatAreStreamedTakesNothingFromTheirReaders() throws {
      let (readers, shards, size) = (4, 10, 23 << 20)
      let scratch = try TemporaryFolder("shards")
      for index in 0..<shards {
        try scratch.file(
          "buckets/data/\(index)", [UInt8](repeating: UInt8(index), count: size))
      }
      let server = try LinkServer(folder: scratch.path("buckets"), link: .s3)
      defer { server.stop() }
      // Room on disk for the four that are open, and none besides.
      let mount = try MountedMillrace(
        "s3://data", cache: scratch.folder("cache"),
        options: [
          "--endpoint-url", "http://127.0.0.1:\(server.port)", "--no-sign-request", "--prefetch",
          "off",
          "--cache-size", "98M", "--memory-limit", "16M",
        ])
      // This epoch and the next one.
      let epoch = Array(0..<shards)
      let text = (epoch + epoch.reversed()).map { "\($0)\n" }.joined()
      try writeFile(mount.path + "/.millrace/order", Array(text.utf8))
      let children = try (0..<readers).map { reader in
        try ChildProcess([
          "sh", "-ec",
          epoch.filter { $0 % readers == reader }.map {
            "cmp \(mount.path)/\($0) \(scratch.path("buckets/data"))/\($0)"
          }.joined(separator: "\n"),
        ])
      }
      for child in children { #expect(child.wait(within: .seconds(120)) == .exited(0)) }
      #expect(try mount.stats().number("timeouts") == 0)
      #expect(server.bytesSent <= shards * size * 5 / 4, "\(server.bytesSent)")
      try mount.unmount()
    }
  }
}
