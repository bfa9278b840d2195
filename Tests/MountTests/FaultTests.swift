import Glibc
import LinkServer
import Posix
import TestSupport
import Testing

extension MountTests {
  /// A store that does one thing wrong: what the reader sees, what the log says, and that the mount comes to
  /// rest.
  @Suite struct Faults {
    /// Passing once for each object: the reader never notices.
    @Test(arguments: [
      Fault.late(seconds: 1.5), .slow(bytesPerSecond: 400_000), .stall(after: 0.4),
      .reset(after: 0.3), .truncated(after: 0.6), .wrongLength(more: 17), .wrongLength(more: -17),
      .wrongRange, .status(500, code: "InternalError"), .status(503, code: "SlowDown"),
      .status(503, code: "SlowDown", retryAfter: 1), .status(502, code: ""), .errorAfter200,
      .garbage, .hugeHead(1_000_000), .silence,
    ])
    func whatPassesIsNeverSeenByAReader(fault: Fault) throws {
      let rig = try FaultRig(ioTimeout: 60)
      try rig.learn()
      let plan = FaultPlan { request in
        request.method == "GET" && !request.isListing && request.number == 0 ? fault : nil
      }
      rig.server.setFaults(plan)
      for name in ["small", "large"] { #expect(rig.isRight(name), "\(name)") }
      #expect(plan.injected == 2)
      #expect(rig.rests())
      try rig.end()
    }

    /// In every listing's first answer.
    @Test(arguments: [
      Fault.late(seconds: 1.5), .stall(after: 0.4), .truncated(after: 0.6), .garbage,
      .status(500, code: "InternalError"), .status(503, code: "SlowDown"), .errorAfter200,
      .hugeHead(1_000_000),
    ])
    func aListingThatPassesIsAskedForAgain(fault: Fault) throws {
      let rig = try FaultRig(ioTimeout: 60)
      let plan = FaultPlan { request in
        request.isListing && request.number.isMultiple(of: 2) ? fault : nil
      }
      rig.server.setFaults(plan)
      #expect(try rig.names(of: "folder") == ["inside"])
      #expect(plan.injected >= 1)
      #expect(rig.rests())
      try rig.end()
    }

    /// For ever: an errno within the bound, a line in the log, and the rest of the mount goes on.
    @Test(arguments: [
      (Fault.status(500, code: "InternalError"), EIO, "InternalError"),
      (.status(503, code: "SlowDown"), EIO, "SlowDown"),
      (.silence, EIO, "no response"), (.stall(after: 0.2), EIO, "not complete before"),
      (.reset(after: 0), EIO, "127.0.0.1"), (.garbage, EIO, "without an ETag"),
      (.wrongRange, EIO, "Content-Range"), (.otherETag, ESTALE, "changed"),
      (.flippedBit, EIO, "crc32c"), (.hugeHead(1_000_000), EIO, "bytes of headers"),
      (.status(403, code: "AccessDenied"), EACCES, "AccessDenied"),
      (.status(400, code: "ExpiredToken"), EACCES, "ExpiredToken"),
      (.status(404, code: "NoSuchKey"), ESTALE, "no such object"),
    ])
    func whatStaysIsANamedErrorWithinTheBound(fault: Fault, expected: CInt, word: String) throws {
      let rig = try FaultRig(ioTimeout: 4)
      #expect(try rig.names(of: "") == ["folder", "good", "large", "small"])
      rig.server.setFaults(FaultPlan { $0.key == "small" && $0.method == "GET" ? fault : nil })
      #expect(rig.errno(of: "small") == expected)
      #expect(
        rig.logSays(["s3://data/small", word]), "\(word) is missing in: \(rig.mount.logText)")
      #expect(rig.isRight("good"))
      #expect(rig.rests())
      // And it recovers by itself.
      rig.server.setFaults(nil)
      let isRight = waitFor(within: .seconds(20)) { rig.isRight("small") ? true : nil }
      #expect(isRight == true)
      try rig.end()
    }

    @Test(arguments: [
      (Fault.garbage, "not an S3 listing"), (.loopingToken, "repeated"),
      (.endlessListing, "more than"),
      (.manyPrefixes(1_000_000), "more than"), (.hugeHead(1_000_000), "bytes of headers"),
      (.status(403, code: "AccessDenied"), "AccessDenied"),
    ])
    func aListingThatCannotBeRightIsAnErrorAndNoMemory(fault: Fault, word: String) throws {
      // A million prefixes take a busy machine many seconds to write, and to read.
      let rig = try FaultRig(ioTimeout: 60)
      rig.server.setFaults(FaultPlan { $0.isListing ? fault : nil })
      #expect(throws: SupportError.self) { try rig.names(of: "folder") }
      #expect(rig.logSays(["s3://data", word]), "\(word) is missing in: \(rig.mount.logText)")
      #expect(try rig.mount.peakResidentBytes() < 300 << 20)
      #expect(rig.rests())
      rig.server.setFaults(nil)
      let names = waitFor(within: .seconds(20)) { try? rig.names(of: "folder") }
      #expect(names == ["inside"])
      try rig.end()
    }

    /// What a store does not know of listings is found out at the first, and not asked for again.
    @Test(arguments: ["list-type", "encoding-type", "both"])
    func listingsAreAskedForInTheWayThatTheStoreKnows(unknown: String) throws {
      let scratch = try TemporaryFolder("dialect")
      for index in 0..<2_500 { try scratch.file("buckets/data/d é/\(index)", text: "x") }
      let server = try LinkServer(
        folder: scratch.path("buckets"), link: .loopback, knowsListV2: unknown != "list-type")
      defer { server.stop() }
      let refused = Lock(0)
      server.setFaults(
        FaultPlan { request in
          let isUnknown =
            unknown == "both"
            ? request.query["list-type"] != nil
            : unknown == "encoding-type" && request.query["encoding-type"] != nil
          guard request.isListing, isUnknown else { return nil }
          refused.withLock { $0 += 1 }
          return .status(501, code: "NotImplemented")
        })
      let mount = try MountedMillrace(
        "s3://data", cache: scratch.path("cache"),
        options: ["--endpoint-url", "http://127.0.0.1:\(server.port)", "--no-sign-request"])
      let names = try CommandResult.check(["ls", mount.path + "/d é"]).output
      #expect(names.split(separator: "\n").count == 2_500)
      #expect(refused.withLock { $0 } <= 4)
      try mount.unmount()
    }

    @Test func aClockThatIsWrongIsCorrected() throws {
      let rig = try FaultRig(ioTimeout: 20, isSigned: true) { server in
        server.setFaults(FaultPlan { _ in .skewedClock(by: 20 * 3600) })
      }
      #expect(rig.isRight("small"))
      #expect(rig.isRight("large"))
      try rig.end()
    }

    @Test func aClockThatIsDaysWrongIsANamedErrorAtTheMount() throws {
      let refused = #expect(throws: SupportError.self) {
        _ = try FaultRig(ioTimeout: 20, isSigned: true) { server in
          server.setFaults(FaultPlan { _ in .skewedClock(by: 3 * 86_400) })
        }
      }
      #expect(refused?.description.contains("set the clock") == true)
    }

    /// A part of a large object that comes damaged has no checksum of the store's, and one of another
    /// version has another ETag: never are two versions mixed.
    @Test func anotherVersionInTheMiddleIsStale() throws {
      let rig = try FaultRig(ioTimeout: 10)
      #expect(try rig.names(of: "").count == 4)
      rig.server.setFaults(
        FaultPlan { $0.key == "large" && $0.number > 1 && $0.method == "GET" ? .otherETag : nil })
      #expect(rig.errno(of: "large") == ESTALE)
      #expect(rig.logSays(["s3://data/large", "changed"]))
      try rig.end()
    }
  }
}

/// A mount over a server with four objects, in which things can go wrong.
final class FaultRig {
  let scratch: TemporaryFolder
  let server: LinkServer
  let mount: MountedMillrace
  private let source: String

  static let sizes = [
    "small": 100_000, "good": 5_000, "large": 12 << 20, "folder/inside": 1_000,
  ]

  /// `ioTimeout`: seconds. `prepare` is called before the mount.
  init(
    ioTimeout: Int, isSigned: Bool = false, options: [String] = [],
    prepare: (LinkServer) -> Void = { _ in }
  ) throws {
    let scratch = try TemporaryFolder("fault")
    self.scratch = scratch
    source = try scratch.folder("buckets") + "/data"
    var random = SeededGenerator(seed: 11)
    for (name, size) in Self.sizes.sorted(by: { $0.key < $1.key }) {
      let bytes = (0..<size / 4).map { _ in UInt32.random(in: 0...(.max), using: &random) }
      _ = try bytes.withUnsafeBytes { try scratch.file("buckets/data/\(name)", Array($0)) }
    }
    for index in 0..<Self.warm { try scratch.file("buckets/data/warm/\(index)", text: "warm") }
    server = try LinkServer(
      folder: scratch.path("buckets"), link: .loopback, keepsChecksums: true)
    prepare(server)
    mount = try MountedMillrace(
      "s3://data", cache: scratch.folder("cache"),
      options: [
        "--endpoint-url", "http://127.0.0.1:\(server.port)", "--io-timeout", "\(ioTimeout)s",
        "--metadata-ttl", "2s",
      ] + (isSigned ? [] : ["--no-sign-request"]) + options,
      environment: isSigned ? ["AWS_ACCESS_KEY_ID": "K", "AWS_SECRET_ACCESS_KEY": "s"] : [:])
  }

  deinit { server.stop() }

  func end() throws { try mount.unmount() }

  private static let warm = 40

  /// So many small files, after which it is known what a silence is.
  func learn() throws {
    for index in 0..<Self.warm { _ = try readText("\(mount.path)/warm/\(index)") }
  }

  func names(of folder: String) throws -> [String] {
    try CommandResult.check(["ls", mount.path + "/" + folder], within: .seconds(120)).output
      .split(separator: "\n").map(String.init).filter { $0 != "warm" }
  }

  /// The whole file, byte for byte.
  func isRight(_ name: String) -> Bool {
    (try? CommandResult.run(
      ["cmp", "\(source)/\(name)", "\(mount.path)/\(name)"], within: .seconds(120)))?.succeeded
      == true
  }

  /// What reading it to its end, or opening it, fails with; 0: it did not.
  func errno(of name: String) -> CInt {
    let file = open(mount.path + "/" + name, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return Glibc.errno }
    defer { close(file) }
    var buffer = [UInt8](repeating: 0, count: 1 << 20)
    while true {
      let count = read(file, &buffer, buffer.count)
      if count < 0 { return Glibc.errno }
      if count == 0 { return 0 }
    }
  }

  func logSays(_ words: [String]) -> Bool {
    let found = waitFor(within: .seconds(10)) { () -> Bool? in
      mount.logText.split(separator: "\n").contains { line in words.allSatisfy { line.contains($0) }
      }
        ? true : nil
    }
    return found == true
  }

  /// No request is under way and nobody waits.
  func rests() -> Bool {
    let isAtRest = waitFor(within: .seconds(60)) { () -> Bool? in
      guard let stats = try? mount.stats() else { return nil }
      return stats["store.inFlight"] == 0 && stats["reads.parked"] == 0 ? true : nil
    }
    return isAtRest == true
  }
}
