import LinkServer
import TestSupport
import Testing

extension MountTests {
  /// What stats says of two epochs, and what doctor and mount find out by reading one byte.
  @Suite struct Views {
    private static let directories = 4

    /// Files three levels down, as a data set of classes has them; with `more` beside them. And an empty bucket.
    private func bucket(more: String? = nil) throws -> (
      scratch: TemporaryFolder, server: LinkServer
    ) {
      let scratch = try TemporaryFolder("views")
      for index in 0..<Self.directories {
        try scratch.file(
          "buckets/data/train/class/\(index)/x.bin", [UInt8](repeating: 7, count: 5000))
      }
      if let more {
        try scratch.file("buckets/data/\(more)", [UInt8](repeating: 8, count: 5000))
      }
      try scratch.folder("buckets/empty")
      return (scratch, try LinkServer(folder: scratch.path("buckets"), link: .loopback))
    }

    private func options(_ server: LinkServer) -> [String] {
      ["--endpoint-url", "http://127.0.0.1:\(server.port)"]
    }

    private static let credentials = [
      "AWS_ACCESS_KEY_ID": "AKIDVIEWS", "AWS_SECRET_ACCESS_KEY": "secret",
      "AWS_REGION": "us-east-1",
    ]

    private func millrace(_ arguments: [String]) throws -> CommandResult {
      try CommandResult.run(
        [Checkout.millrace()] + arguments, environment: Self.credentials, within: .seconds(60))
    }

    /// The line of stats that says which tier served.
    private func served(_ mount: MountedMillrace) throws -> String {
      let text = try CommandResult.check([Checkout.millrace(), "stats", mount.path]).output
      return try #require(
        text.split(separator: "\n").first { $0.hasPrefix("Served") }.map(String.init), "\(text)")
    }

    @Test func twoEpochsFromDiskAreServedByTheKernelOrTheDiskAndNotByTheStore() throws {
      let rig = try PrefetchRig([])
      defer { rig.server.stop() }
      let read = ["sh", "-c", "cat \"$1\"/d/*.bin > /dev/null", "sh"]
      try CommandResult.check(read + [rig.mount.path], within: .seconds(60))
      #expect(try served(rig.mount).hasPrefix("Served    5.7 MiB: "))
      try rig.mount.unmount()
      let again = try MountedMillrace(
        "s3://data", cache: rig.scratch.path("cache"),
        options: options(rig.server) + ["--no-sign-request"])
      for _ in 0..<2 { try CommandResult.check(read + [again.path], within: .seconds(60)) }
      let line = try served(again)
      #expect(line.hasSuffix(" 0 % store"), "\(line)")
      #expect(line.contains("100 % kernel") || line.contains("100 % disk"), "\(line)")
      #expect(try again.stats().number("bytesFetched") == 0)
      try again.unmount()
    }

    @Test func listingWithoutReadingIsFoundAndTheActionNamed() throws {
      let (scratch, server) = try bucket()
      defer { server.stop() }
      let mountPoint = try scratch.folder("mnt")
      let arguments = options(server) + ["--cache-dir", scratch.path("cache")]
      // All is well: a file is found three levels down.
      let well = try millrace(["doctor", "s3://data"] + arguments)
      #expect(well.output.contains("x.bin in"), "\(well)")
      server.setFaults(
        FaultPlan {
          $0.method == "GET" && !$0.isListing ? .status(403, code: "AccessDenied") : nil
        })
      let found = try millrace(["doctor", "s3://data"] + arguments)
      #expect(found.status == .exited(1), "\(found)")
      let line = found.output.split(separator: "\n").first { $0.hasPrefix("fail") } ?? ""
      #expect(line.contains("read") && line.contains("s3:GetObject "), "\(found)")
      #expect(!line.contains("s3:ListBucket"), "\(found)")
      let refused = try millrace(["mount", "s3://data", mountPoint] + arguments)
      #expect(!refused.succeeded && refused.errors.contains("s3:GetObject "), "\(refused)")
      #expect(!Mounts.isMounted(mountPoint))
    }

    @Test func aDirectoryThatIsRefusedDoesNotHideOneThatIsNot() throws {
      let (scratch, server) = try bucket(more: "z/y.bin")
      defer { server.stop() }
      server.setFaults(
        FaultPlan {
          $0.method == "GET" && $0.key.hasPrefix("train/")
            ? .status(403, code: "AccessDenied") : nil
        })
      let mount = try MountedMillrace(
        "s3://data", cache: scratch.folder("cache"), options: options(server),
        environment: Self.credentials)
      #expect(try readFile(mount.path + "/z/y.bin").count == 5000)
      // The check itself is in no counter.
      #expect(try mount.stats().number("store.getRequests") <= 1 + mount.stats().sentTwice)
      try mount.unmount()
    }

    @Test func anEmptyBucketIsInformationAndNoFault() throws {
      let (scratch, server) = try bucket()
      defer { server.stop() }
      let found = try millrace(
        ["doctor", "s3://empty", "--cache-dir", scratch.path("cache")] + options(server))
      #expect(found.output.contains("info  read"), "\(found)")
    }
  }
}
