import Foundation
import Glibc
import LinkServer
import Posix
import TestSupport
import Testing

extension MountTests {
  /// The formats of training data, each written and read by its own library (Tests/Tools/formats.py): what
  /// the store is asked for, and how much of it nobody needed.
  ///
  /// Over-read is what the store sent, over what the format makes a reader read, to the byte (formats.py says
  /// what counts). Each case is read cold, through a mount of its own; nothing is filled.
  @Suite struct Formats {
    /// How far the kernel reads ahead by itself: 128 KiB, but 1 MiB in a mount of root's. It does so past the end of
    /// each stretch that is read, which no daemon can tell from a program's wish: up to twice that of each. On a busy
    /// machine it does so in smaller steps, and more often.
    enum Kernel: String {
      case user, root
    }

    struct Case: Sendable, CustomTestStringConvertible {
      var name: String
      var kernel = Kernel.user
      /// Requests at most: about half as many again as were seen, and less than one for each 128 KiB.
      var gets: Int
      var overRead = 1.15

      var testDescription: String { "\(name), \(kernel)" }
    }

    private struct Needs: Decodable {
      var needed: Int
      var pieces: Int
    }

    /// Made once a process: 500 MB by every library.
    private static let made = Lock(Result<TemporaryFolder, any Error> { try make() })

    private static func make() throws -> TemporaryFolder {
      let scratch = try TemporaryFolder("formats")
      try tool("make", scratch.folder("buckets/data"))
      return scratch
    }

    @discardableResult
    private static func tool(_ arguments: String...) throws -> String {
      let python = try VirtualEnvironment.shared().python
      return try CommandResult.check(
        [python, Checkout.tools + "/formats.py"] + arguments, within: .seconds(180)
      ).output
    }

    private static func set(_ kernel: Kernel, of mount: MountedMillrace) throws {
      var status = stat()
      try #require(stat(mount.path, &status) == 0)
      // A mount has a device without a major number, and a minor one of twenty bits.
      let minor = status.st_dev & 0xff | (status.st_dev >> 12) & 0xfff00
      try writeFile(
        "/sys/class/bdi/0:\(minor)/read_ahead_kb", (kernel == .root ? "1024" : "128").utf8)
    }

    @Test(arguments: [
      Case(name: "small", gets: 310),
      Case(name: "tar", gets: 90),
      Case(name: "tfrecord", gets: 90),
      Case(name: "npz-one", gets: 80),
      Case(name: "npz-all", gets: 120),
      Case(name: "parquet-columns", gets: 300),
      Case(name: "parquet-all", gets: 300),
      Case(name: "arrow-batch", gets: 100),
      Case(name: "arrow-all", gets: 200),
      Case(name: "hdf5-chunked", gets: 80),
      Case(name: "hdf5-contiguous", gets: 80),
      Case(name: "safetensors-part", gets: 250),
      Case(name: "safetensors-all", gets: 750),
    ])
    func aFormatIsReadForWhatItNeeds(_ it: Case) throws { try check(it) }

    @Test(
      .enabled(if: requireOrSkip(.root)),
      arguments: [
        Case(name: "npz-one", kernel: .root, gets: 30, overRead: 1.27),
        Case(name: "parquet-columns", kernel: .root, gets: 100, overRead: 1.3),
        Case(name: "arrow-batch", kernel: .root, gets: 60),
        Case(name: "hdf5-chunked", kernel: .root, gets: 50),
        Case(name: "hdf5-contiguous", kernel: .root, gets: 50),
        Case(name: "safetensors-part", kernel: .root, gets: 80, overRead: 1.4),
        Case(name: "safetensors-all", kernel: .root, gets: 200),
      ])
    func aFormatIsReadForWhatItNeedsByRoot(_ it: Case) throws { try check(it) }

    private func check(_ it: Case) throws {
      let data = try Self.made.withLock { try $0.get() }
      let needs = try JSONDecoder().decode(
        Needs.self, from: Data(Self.tool("needs", it.name, data.path("buckets/data")).utf8))
      let scratch = try TemporaryFolder("format")
      let server = try LinkServer(folder: data.path("buckets"), link: .s3)
      defer { server.stop() }
      let mount = try MountedMillrace(
        "s3://data", cache: scratch.folder("cache"),
        options: [
          "--endpoint-url", "http://127.0.0.1:\(server.port)", "--no-sign-request", "--prefetch",
          "off",
        ])
      // Who is not root has that kernel anyway.
      if geteuid() == 0 { try Self.set(it.kernel, of: mount) }
      try Self.tool("read", it.name, mount.path)
      let stats = try mount.stats()
      // What a busy machine made the daemon hedge or retry is not over-read.
      let sent =
        stats.sentTwice == 0
        ? server.bytesSent - MountedMillrace.checkGets : try stats.number("bytesFetched")
      try mount.unmount()
      let ratio = Double(sent) / Double(needs.needed)
      print(
        "formats: \(it.name), \(it.kernel): \(server.gets) requests, \(server.bytesSent) bytes,",
        "\(needs.needed) needed (\(needs.pieces) in pieces), over-read",
        Double(Int(ratio * 1000 + 0.5)) / 1000)
      #expect(server.bytesSent >= needs.needed)
      #expect(ratio <= it.overRead)
      #expect(server.gets - MountedMillrace.checkGets - stats.sentTwice <= it.gets)
    }
  }
}
