import CEngineShim
import Glibc
import LinkServer
import Posix
import TestSupport
import Testing

extension MountTests {
  /// Sizes that no object has, and files that the disk cannot hold: the mount goes on.
  @Suite(.serialized) struct HostileSizes {
    /// S3's largest object is larger than any file of ext4.
    private static let largest = 53_660_000_000_000

    @Test func aBucketThatStatesImpossibleSizesHidesThemAndServesTheRest() throws {
      let scratch = try TemporaryFolder("sizes")
      try scratch.folder("buckets/data")
      let server = try LinkServer(folder: scratch.path("buckets"), link: .loopback)
      defer { server.stop() }
      let readable = ["a": 4096, "b": 1 << 32, "c": Self.largest, "d": 1 << 53]
      let hidden = [
        "e": "9007199254740993", "f": "4611686018427387904", "g": "9223372036854775808",
        "h": "18446744073709420544", "i": "18446744073709551615",
        "j": "99999999999999999999999999",
      ]
      let stated = readable.mapValues { "\($0)" }.merging(hidden) { first, _ in first }
      server.setFaults(FaultPlan { _ in .stated(stated) })
      let mount = try MountedMillrace(
        "s3://data", cache: scratch.folder("cache"),
        options: [
          "--endpoint-url", "http://127.0.0.1:\(server.port)", "--no-sign-request",
          "--cache-size", "64M", "--memory-limit", "64M", "--prefetch", "all",
        ])
      // Asked for singly, then listed.
      #expect(Self.errno(mount.path + "/i") == ENOENT)
      let names = try CommandResult.check(["ls", mount.path]).output.split(separator: "\n")
      #expect(names.map(String.init) == readable.keys.sorted())
      for name in hidden.keys { #expect(Self.errno(mount.path + "/" + name) == ENOENT) }
      for (name, size) in readable.sorted(by: { $0.key < $1.key }) {
        try Self.expectRead(mount.path + "/" + name, size)
      }
      for action in ["du", "pin", "unpin", "evict", "du"] {
        try CommandResult.check([Checkout.millrace(), action, mount.path])
      }
      let order = readable.keys.sorted().joined(separator: "\n") + "\ni\n"
      try writeFile(mount.path + "/.millrace/order", Array(order.utf8))
      var status = statvfs()
      #expect(statvfs(mount.path, &status) == 0 && status.f_blocks > 0)
      #expect(try mount.stats().number("hiddenNames") >= hidden.count)
      #expect(try mount.stats().number("diskErrors") == 0)
      #expect(try mount.peakResidentBytes() < 300 << 20)
      try mount.unmount()
    }

    /// A limit on file sizes is a signal that ends a process, unless it is taken for what it is.
    @Test func aFileLargerThanTheDiskTakesIsReadPastIt() throws {
      let scratch = try TemporaryFolder("past")
      let bytes = (0..<6 << 20).map { UInt8(truncatingIfNeeded: $0 &* 7 >> 9) }
      try scratch.file("buckets/data/large", bytes)
      try scratch.file("buckets/data/small", bytes.prefix(300_000))
      let server = try LinkServer(folder: scratch.path("buckets"), link: .loopback)
      defer { server.stop() }
      let mount = try MountedMillrace(
        "s3://data", cache: scratch.folder("cache"),
        options: ["--endpoint-url", "http://127.0.0.1:\(server.port)", "--no-sign-request"])
      try CommandResult.check(["prlimit", "--pid", "\(mount.pid)", "--fsize=4194304"])
      for name in ["large", "small", "large"] {
        try CommandResult.check(
          ["cmp", scratch.path("buckets/data/" + name), mount.path + "/" + name])
      }
      let isSaid = waitFor(within: .seconds(20)) {
        mount.logText.contains("holds no file of") ? true : nil
      }
      #expect(isSaid == true)
      #expect(try mount.stats().number("diskErrors") == 0)
      try mount.unmount()
    }

    private static func errno(_ path: String) -> CInt {
      var status = stat()
      return stat(path, &status) == 0 ? 0 : Glibc.errno
    }

    private static func expectRead(_ path: String, _ size: Int) throws {
      var status = stat()
      #expect(stat(path, &status) == 0 && status.st_size == size)
      var text = [UInt8](repeating: 0, count: 64)
      #expect(getxattr(path, "user.millrace.state", &text, text.count) > 0)
      let file = open(path, O_RDONLY | O_CLOEXEC)
      #expect(file >= 0)
      defer { close(file) }
      for offset in [0, size / 2, size - 4096, size] {
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = pread(file, &bytes, bytes.count, off_t(offset))
        let expected = SyntheticBytes.shared.bytes(offset..<min(size, offset + 4096))
        #expect(
          count >= 0 && Array(bytes.prefix(max(count, 0))) == expected, "\(path) at \(offset)")
      }
    }
  }
}
