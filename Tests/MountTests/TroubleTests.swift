import Glibc
import LinkServer
import Posix
import TestSupport
import Testing

extension MountTests {
  /// A store in trouble under load: everything at once, gone for a while, gone for good, silent, and with keys
  /// that expire.
  @Suite struct Trouble {
    /// How much there is to read: small files, and MiB of a large one.
    private struct Size {
      var files = 300
      var largeMiB = 96
    }

    private static let mix: [Fault] = [
      .late(seconds: 1), .stall(after: 0.5), .reset(after: 0.5), .truncated(after: 0.5),
      .wrongLength(more: 13), .status(500, code: "InternalError"), .status(503, code: "SlowDown"),
    ]

    /// Many small files in ten folders and a large one: sizes and contents differ.
    private func dataSet(_ size: Size = Size()) throws -> TemporaryFolder {
      let scratch = try TemporaryFolder("trouble")
      var random = SeededGenerator(seed: 5)
      let noise = (0..<(1 << 20)).map { _ in UInt8.random(in: 0...255, using: &random) }
      for index in 0..<size.files {
        let start = Int.random(in: 0..<noise.count - 120_000, using: &random)
        let count = Int.random(in: 1...120_000, using: &random)
        try scratch.file(
          "buckets/data/d\(index % 10)/\(index).bin", noise[start..<start + count])
      }
      let large = try scratch.file("buckets/data/large.bin", noise)
      for index in 1..<size.largeMiB {
        let file = open(large, O_WRONLY | O_CLOEXEC | O_APPEND)
        defer { close(file) }
        let turned = noise[(index * 1021)...] + noise[..<(index * 1021)]
        try #require(
          Array(turned).withUnsafeBytes { write(file, $0.baseAddress, $0.count) } == noise.count)
      }
      return scratch
    }

    private func mount(
      _ scratch: TemporaryFolder, _ server: LinkServer, cache: String, _ options: [String] = [],
      environment: [String: String] = [:]
    ) throws -> MountedMillrace {
      try MountedMillrace(
        "s3://data", cache: scratch.folder(cache),
        options: ["--endpoint-url", "http://127.0.0.1:\(server.port)"]
          + (environment.isEmpty ? ["--no-sign-request"] : []) + options, environment: environment)
    }

    /// Seconds that 16 readers take for all of it, with each of the mix at this rate.
    private func readAll(
      _ scratch: TemporaryFolder, rate: Double, cache: String
    ) throws -> (seconds: Double, faults: Int) {
      let server = try LinkServer(
        folder: scratch.path("buckets"), link: .s3, keepsChecksums: true)
      defer { server.stop() }
      let mount = try mount(scratch, server, cache: cache)
      let plan = FaultPlan { [random = Lock(SeededGenerator(seed: 3))] request in
        guard rate > 0 else { return nil }
        let point = random.withLock { Double.random(in: 0..<1, using: &$0) }
        if request.isListing { return point < rate ? .garbage : nil }
        let index = Int(point / rate)
        return request.method == "GET" && index < Self.mix.count ? Self.mix[index] : nil
      }
      server.setFaults(plan)
      let start = Instant.now
      try Readers.compare(
        scratch.path("buckets/data"), mount.path, readers: 16, within: .seconds(1200))
      let seconds = (Instant.now - start).seconds
      #expect(!mount.logText.contains("read failed"), "\(mount.logText)")
      let stats = try mount.stats()
      #expect(stats["reads.failures"] == 0)
      try mount.unmount()
      return (seconds, plan.injected)
    }

    @Test func aMixOfFaultsIsNeverSeenByAReader() throws {
      let size = Size()
      let (_, faults) = try readAll(dataSet(size), rate: 0.05, cache: "cache")
      #expect(faults >= size.files / 5)
    }

    /// `make faults` runs it alone.
    @Test(.enabled(if: isLongRun(seconds: 360)))
    func aMixOfFaultsAtFullSizeIsNeverSeenByAReader() throws {
      let size = Size(files: 2_000, largeMiB: 1_024)
      let scratch = try dataSet(size)
      let (often, faults) = try readAll(scratch, rate: 0.05, cache: "cache")
      #expect(faults >= size.files / 5)
      let clean = try readAll(scratch, rate: 0, cache: "clean").seconds
      let rare = try readAll(scratch, rate: 0.01, cache: "rare").seconds
      print(
        """
        \(size.files) files and one of \(size.largeMiB) MiB, 16 readers, s3 link, 8 faults each at
          0 %: \(clean) s; 1 %: \(rare) s (\(clean / rare) of the throughput); 5 %: \(often) s \
        (\(clean / often))
        """)
    }

    @Test func aStoreThatIsGoneForAWhileIsWaitedFor() throws {
      let scratch = try dataSet()
      let first = try LinkServer(folder: scratch.path("buckets"), link: .s3)
      let port = first.port
      let mount = try mount(scratch, first, cache: "cache", ["--io-timeout", "60s"])
      #expect(try CommandResult.check(["ls", "-R", mount.path]).output.contains("large.bin"))
      // It goes in the middle of the reading, and comes back.
      let outage = Posix.Thread(named: "outage") {
        _ = waitFor(within: .seconds(30)) { first.gets >= 20 ? true : nil }
        first.stop()
      }
      let back = Lock<LinkServer?>(nil)
      let comeback = Posix.Thread(named: "return") {
        outage.join()
        sleep(6)
        for _ in 0..<100 where back.withLock({ $0 == nil }) {
          let server = try? LinkServer(
            folder: scratch.path("buckets"), link: .s3, port: port)
          back.withLock { $0 = server }
          if server == nil { usleep(50_000) }
        }
      }
      try Readers.compare(
        scratch.path("buckets/data"), mount.path, readers: 8, within: .seconds(300))
      comeback.join()
      defer { back.withLock { $0?.stop() } }
      #expect(back.withLock { $0 != nil })
      #expect(try mount.stats()["reads.failures"] == 0)
      try mount.unmount()
    }

    @Test func aStoreThatIsGoneForGoodIsAnErrnoAndWhatIsCachedStays() throws {
      let scratch = try TemporaryFolder("trouble")
      for name in ["cached", "missing"] {
        try scratch.file("buckets/data/\(name)", text: String(repeating: name, count: 10_000))
      }
      let server = try LinkServer(folder: scratch.path("buckets"), link: .loopback)
      let port = server.port
      let mount = try mount(scratch, server, cache: "cache", ["--io-timeout", "3s"])
      let text = try readText(mount.path + "/cached")
      server.stop()
      for _ in 0..<2 { #expect(throws: (any Error).self) { try readText(mount.path + "/missing") } }
      #expect(try readText(mount.path + "/cached") == text)
      let line = mount.logText.split(separator: "\n").first { $0.contains("s3://data/missing") }
      #expect(line?.contains("127.0.0.1:\(port)") == true, "\(mount.logText)")
      let back = try LinkServer(folder: scratch.path("buckets"), link: .loopback, port: port)
      defer { back.stop() }
      let found = waitFor(within: .seconds(30)) { try? readText(mount.path + "/missing") }
      #expect(found?.count == 70_000)
      try mount.unmount()
    }

    /// Every call of a program's, against a store that takes connections and says nothing: each ends.
    @Test func everyOperationEndsThoughTheStoreIsSilent() throws {
      let scratch = try TemporaryFolder("trouble")
      for name in ["a", "folder/b"] {
        try scratch.file("buckets/data/\(name)", text: String(repeating: "x", count: 100_000))
      }
      let server = try LinkServer(folder: scratch.path("buckets"), link: .loopback)
      defer { server.stop() }
      let mount = try mount(
        scratch, server, cache: "cache", ["--io-timeout", "2s", "--metadata-ttl", "0"])
      let held = open(mount.path + "/a", O_RDONLY | O_CLOEXEC)
      try #require(held >= 0)
      server.setFaults(FaultPlan { _ in .silence })
      let program = try Checkout.millrace()
      let path = mount.path
      let commands: [[String]] = [
        ["stat", path + "/a"], ["stat", path + "/none"], ["cat", path + "/a"], ["ls", "-l", path],
        ["ls", path + "/folder"], ["cat", path + "/folder/b"], ["readlink", path + "/a"],
        ["getfattr", "-d", path + "/a"], ["df", path], ["find", path],
        [program, "stats", path], [program, "refresh", path], [program, "update", path],
        ["dd", "if=\(path)/a", "of=/dev/null", "iflag=direct"],
      ]
      for command in commands {
        // `run` throws where a command does not end: that is what is tested here.
        _ = try CommandResult.run(command, within: .seconds(30))
      }
      var byte: UInt8 = 0
      #expect(pread(held, &byte, 1, 50_000) == -1)
      #expect(errno == EIO)
      close(held)
      try mount.unmount()
    }

    /// A reader that is killed while it waits does not wait for the store.
    @Test func aKilledReaderIsGoneThoughTheStoreIsSilent() throws {
      let scratch = try TemporaryFolder("trouble")
      try scratch.file("buckets/data/a", text: String(repeating: "x", count: 100_000))
      let server = try LinkServer(folder: scratch.path("buckets"), link: .loopback)
      defer { server.stop() }
      let mount = try mount(scratch, server, cache: "cache", ["--io-timeout", "600s"])
      #expect(try CommandResult.check(["ls", mount.path]).output == "a\n")
      server.setFaults(FaultPlan { _ in .silence })
      for command in [["cat", mount.path + "/a"], ["stat", mount.path + "/other/x"]] {
        let reader = try ChildProcess(command)
        usleep(300_000)
        reader.signal(SIGKILL)
        #expect(reader.wait(within: .seconds(20)) != nil, "\(command)")
      }
      try mount.unmount()
    }

    /// Keys of a container that hold for ten seconds, and a store that refuses each pair after that.
    @Test(.enabled(if: requireOrSkip(.servers))) func keysThatExpireFailNoRead() throws {
      let scratch = try TemporaryFolder("trouble")
      for index in 0..<400 {
        try scratch.file("buckets/data/\(index)", text: String(repeating: "\(index) ", count: 500))
      }
      let server = try LinkServer(folder: scratch.path("buckets"), link: .s3)
      defer { server.stop() }
      let port = try freePorts(1)[0]
      let lifetime = 10
      let keys = try ServerProcess(
        ["python3", Checkout.tools + "/keys.py", "serve", String(port), String(lifetime)],
        port: port, log: scratch.path("keys.log"))
      defer { keys.stop() }
      let seen = Lock<[String: Instant]>([:])
      let refused = Lock(0)
      // A pair is as old as the first request with it; a fifth earlier than promised it is refused.
      server.setFaults(
        FaultPlan { request in
          guard let token = request.headers["x-amz-security-token"] else {
            return .status(403, code: "AccessDenied")
          }
          let first = seen.withLock { seen in
            seen[token, default: .now] = seen[token] ?? .now
            return seen[token]!
          }
          guard Instant.now > first + .milliseconds(lifetime * 600) else { return nil }
          refused.withLock { $0 += 1 }
          return .status(400, code: "ExpiredToken")
        })
      let mount = try mount(
        scratch, server, cache: "cache", ["--metadata-ttl", "0"],
        environment: [
          "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:\(port)/rotating",
          "HOME": scratch.path,
        ])
      let end = Instant.now + .seconds(25)
      var index = 0
      while Instant.now < end {
        let text = try? readText("\(mount.path)/\(index % 400)")
        try #require(text?.hasPrefix("\(index % 400) ") == true, "\(mount.logText)")
        index += 1
        usleep(20_000)
      }
      #expect(seen.withLock { $0.count } >= 3)
      #expect(refused.withLock { $0 } >= 1)
      #expect(try mount.stats()["reads.failures"] == 0)
      #expect(!mount.logText.contains("read failed"))
      try mount.unmount()
    }
  }
}
