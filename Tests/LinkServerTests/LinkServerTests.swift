import Posix
import TestSupport
import Testing

@testable import LinkServer

/// The store of the benchmarks answers what S3 answers, at the pace that it is told.
struct LinkServerTests {
  @Test func waitsAreLogNormalWithTheirMedian() {
    for link in [Link.s3, Link.far] {
      for seed in 0..<20 as Range<UInt64> {
        var random = SeededGenerator(seed: seed)
        let waits = (0..<4001).map { _ in link.wait(using: &random) }.sorted()
        #expect(abs(waits[2000] / link.firstByte - 1) < 0.05, "seed \(seed)")
        // One standard deviation: 84 of 100.
        #expect(abs(waits[3364] / (link.firstByte * 1.35) - 1) < 0.06, "seed \(seed)")
        #expect(waits[0] > 0)
      }
    }
  }

  @Test func bytesLeaveNoFasterThanTheLink() {
    for link in [Link.s3, Link.far] {
      for seed in 0..<200 as Range<UInt64> {
        var random = SeededGenerator(seed: seed)
        var pace = Pace(link, from: 5)
        var now = 5.0
        var paused = 0.0
        var sent = 0
        for _ in 0..<500 {
          sent += link.burst
          let due = pace.sent(link.burst, now: now)
          // Now and then the client takes nothing for a while.
          let pause = Int.random(in: 0..<50, using: &random) == 0 ? 0.5 : 0
          paused += pause
          now = max(now, due) + pause
          let least = 5 + Double(sent - link.burst) / link.rate + paused - 0.5 - 0.02
          #expect(now >= least, "seed \(seed)")
        }
        // What was lost is not made good, but for the scheduler's share of each pause.
        let expected = Double(sent) / link.rate + paused
        #expect(now - 5 >= expected - (paused / 0.5 + 1) * (Pace.slack + 0.005), "seed \(seed)")
        #expect(Double(link.burst) / link.rate <= 0.003)
      }
    }
  }

  @Test func someAnswersCanBeMadeSlow() {
    var link = Link.s3
    link.slowShare = 0.1
    link.slowWait = 7
    var random = SeededGenerator(seed: 3)
    let slow = (0..<10_000).count { _ in link.wait(using: &random) == 7 }
    #expect((800...1200).contains(slow))
  }

  @Test func rangesAreThoseOfTheStandard() {
    #expect(Answerer.range("bytes=0-9", size: 100) == 0..<10)
    #expect(Answerer.range("bytes=90-", size: 100) == 90..<100)
    #expect(Answerer.range("bytes=90-200", size: 100) == 90..<100)
    #expect(Answerer.range("bytes=-5", size: 100) == 95..<100)
    #expect(Answerer.range("bytes=0-\(Int.max)", size: 100) == 0..<100)
    #expect(Answerer.range("bytes=-500", size: 100) == 0..<100)
    for bad in ["bytes=100-", "bytes=5-4", "bytes=-0", "lines=1-2", "bytes=", "bytes=a-b"] {
      #expect(Answerer.range(bad, size: 100) == nil, "\(bad)")
    }
  }

  @Test func syntheticBytesFollowFromTheirPosition() {
    let all = SyntheticBytes.shared.bytes(0..<(5 << 20))
    for seed in 0..<100 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      let start = Int.random(in: 0..<all.count, using: &random)
      let end = Int.random(in: start...all.count, using: &random)
      #expect(SyntheticBytes.shared.bytes(start..<end).elementsEqual(all[start..<end]), "\(seed)")
    }
    // No piece is another's, nor what lies a little beside it.
    let pieces = (0..<40).map { Array(all[$0 << 17..<($0 + 1) << 17]) }
    #expect(Set(pieces).count == 40)
  }

  @Test func listingsMatchAPlainModel() throws {
    for seed in 0..<200 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      let scratch = try TemporaryFolder("link")
      let objects = Objects(folder: try scratch.folder("buckets"))
      var keys: Set<String> = []
      for _ in 0..<Int.random(in: 0...60, using: &random) {
        let parts = (0..<Int.random(in: 1...3, using: &random)).map { _ in
          ["a", "b", "a-", "a.", "b0", "z"].randomElement(using: &random)!
        }
        keys.insert(parts.joined(separator: "/"))
      }
      for key in keys { objects.addSynthetic("b", Array(key.utf8), size: 1) }
      if keys.isEmpty { objects.addSynthetic("b", Array("other".utf8), size: 1) }
      let prefix = ["", "a", "a/", "b/a"].randomElement(using: &random)!
      let hasDelimiter = Bool.random(using: &random)
      let limit = Int.random(in: 1...7, using: &random)
      var found: [String] = []
      var start: [UInt8] = []
      for _ in 0..<200 {
        let page = try #require(
          objects.list(
            "b",
            ListQuery(
              prefix: Array(prefix.utf8), delimiter: hasDelimiter ? 0x2f : nil, start: start,
              limit: limit)))
        #expect(page.objects.count + page.prefixes.count <= limit)
        let names = page.objects.map(\.key) + page.prefixes
        found += names.map { String(decoding: $0, as: UTF8.self) }
        guard let next = page.next else { break }
        start = next
      }
      var expected: Set<String> = []
      for key in keys.isEmpty ? ["other"] : keys where key.hasPrefix(prefix) {
        let rest = key.dropFirst(prefix.count)
        let slash = hasDelimiter ? rest.firstIndex(of: "/") : nil
        expected.insert(slash.map { prefix + rest[...$0] } ?? key)
      }
      #expect(found.count == Set(found).count, "seed \(seed)")
      #expect(Set(found) == expected, "seed \(seed)")
    }
  }

  @Test func aClientOfS3IsServed() throws {
    let scratch = try TemporaryFolder("link")
    let server = try LinkServer(folder: scratch.folder("buckets"), link: .loopback)
    defer { server.stop() }
    server.addSynthetic(bucket: "data", key: "large", size: 5 << 30)
    let endpoint = S3Endpoint(
      url: "http://127.0.0.1:\(server.port)", accessKey: "a", secretKey: "b")
    try endpoint.makeBucket("new")
    let body = seededBytes(300_000, seed: 1)
    try endpoint.put(body, to: "new", key: "a/b c+é")
    #expect(try endpoint.get("new", key: "a/b c+é") == body)
    try endpoint.delete("new", key: "a/b c+é")
    #expect(throws: (any Error).self) { try endpoint.get("new", key: "a/b c+é") }

    func curl(_ options: [String], _ path: String) throws -> CommandResult {
      try CommandResult.run(["curl", "-s"] + options + [endpoint.url + path])
    }
    let first = 3 << 30
    #expect(
      try CommandResult.run([
        "curl", "-s", "-o", scratch.path("part"), "-r", "\(first)-\(first + 999_999)",
        endpoint.url + "/data/large",
      ]).succeeded)
    #expect(
      try readFile(scratch.path("part")) == SyntheticBytes.shared.bytes(first..<first + 1_000_000))
    let code = ["-o", "/dev/null", "-w", "%{http_code}"]
    #expect(try curl(code, "/data/none").output == "404")
    #expect(try curl(code, "/none/none").output == "404")
    #expect(try curl(code + ["-H", "If-Match: \"x\""], "/data/large").output == "412")
    #expect(try curl(code + ["-r", "\(5 << 30)-"], "/data/large").output == "416")
    #expect(try curl(code + ["-I"], "/data/large").output == "200")
    #expect(server.statistics.contains("\"heads\": 1"))
    let outside = try scratch.file("outside", [1])
    _ = try curl(code + ["-X", "DELETE"], "/data/%2e%2e/%2e%2e/outside")
    #expect(try readFile(outside) == [1])
    let client = RawClient(port: server.port, path: "/data/none")
    #expect(client.read(bytes: 1000, connections: 1) == nil)
    #expect(try curl(["-X", "POST"], "/-/reset").output.contains("\"requests\": 0"))
  }

  @Test func itListensOnEveryAddressItIsGiven() throws {
    let scratch = try TemporaryFolder("link")
    let server = try LinkServer(
      folder: scratch.folder("buckets"), link: .loopback, addresses: ["127.0.0.1", "127.0.0.2"])
    defer { server.stop() }
    server.addSynthetic(bucket: "data", key: "x", size: 3_000_000)
    for host in ["127.0.0.1", "127.0.0.2"] {
      let client = RawClient(host: host, port: server.port, path: "/data/x")
      let result = try #require(client.read(bytes: 3_000_000, connections: 3))
      #expect(result.bytes == 3_000_000)
    }
    // A thread that is done early reads on over its own connection: from one to three of them an address.
    let counts = (1...3).flatMap { one in (1...3).map { (one, $0) } }
    #expect(
      counts.contains { one, other in
        server.statistics.contains("\"127.0.0.1\": \(one), \"127.0.0.2\": \(other)}")
      }, "\(server.statistics)")
  }
}
