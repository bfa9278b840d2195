import Metrics
import ObjectStore
import Posix
import TestSupport
import Testing

@testable import S3Store

/// Against real servers that verify signatures.
@Suite(.serialized) struct S3StoreTests {
  enum Server: String, CaseIterable {
    case seaweed, rclone

    /// The value that ends the server, and how it is reached.
    func start() throws -> (owner: AnyObject, endpoint: TestSupport.S3Endpoint) {
      switch self {
      case .seaweed:
        let server = try SeaweedFS.start()
        return (server, server.endpoint)
      case .rclone:
        let server = try RcloneS3.start()
        return (server, server.endpoint)
      }
    }
  }

  /// Names that every server here can hold.
  private static let oddNames = [
    "plain", "with space", "plus+plus", "equals=1", "percent%41%", "amp&amp;", "hash#tag",
    "quote\"double", "quote'single", "ümlaut", "日本語.txt", "e\u{301}", "\u{E9}", "star*", "tilde~",
    "semi;colon", "at@x", "(paren)", "back`tick", "<less>", "comma,", "dollar$", "[bracket]",
    "year=2026", "😀", String(repeating: "n", count: 200),
  ]

  private func body(_ index: Int, _ count: Int) -> [UInt8] {
    var generator = SeededGenerator(seed: UInt64(index))
    return (0..<count).map { _ in .random(in: 0...255, using: &generator) }
  }

  @Test(.enabled(if: requireOrSkip(.servers)), arguments: Server.allCases)
  func everyOddKeyIsListedHeadedAndReadByteForByte(server: Server) throws {
    let (owner, endpoint) = try server.start()
    defer { withExtendedLifetime(owner) {} }
    let objects = Self.oddNames.enumerated().map { index, name in
      (key: Array("dir é+%/\(name)".utf8), body: body(index, 1 + index * 37))
    }
    try endpoint.put(objects, to: "data")
    let driver = try StoreDriver(endpoint)
    #expect(try driver.list().folders == [ObjectKey("dir é+%/")])
    let page = try driver.list(ObjectKey("dir é+%/"), limit: 7)
    #expect(Set(page.objects.map(\.key)) == Set(objects.map { ObjectKey(bytes: $0.key) }))
    #expect(page.objects.count == objects.count)
    for object in objects {
      let key = ObjectKey(bytes: object.key)
      let listed = try #require(page.objects.first { $0.key == key })
      let version = try #require(listed.version)
      #expect(version.size == UInt64(object.body.count))
      let head = try driver.head(key)
      #expect(head.version == version, "\(key): \(head) and \(listed)")
      #expect(try driver.read(version, 0..<version.size) == object.body, "\(key)")
    }
    let plain = try StoreDriver(endpoint, usesListV1: true, encodesListings: false)
    let again = try plain.list(ObjectKey("dir é+%/"), limit: 7)
    #expect(Set(again.objects.map(\.key)) == Set(page.objects.map(\.key)))
  }

  @Test(.enabled(if: requireOrSkip(.servers)), arguments: Server.allCases)
  func fifteenHundredKeysComeInPagesAndInOrder(server: Server) throws {
    let (owner, endpoint) = try server.start()
    defer { withExtendedLifetime(owner) {} }
    let names = (0..<1_500).map { "many/\(String($0 + 10_000)).bin" }
    let keys = names + ["many/zdir/inner"]
    if let rclone = owner as? RcloneS3 {  // minutes by its own PUT
      let folder = rclone.folder + "/data"
      try CommandResult.check(["mkdir", "-p", folder + "/many/zdir"])
      for key in keys { try writeFile("\(folder)/\(key)", key.utf8) }
    } else {
      try endpoint.put(keys.map { (key: Array($0.utf8), body: Array($0.utf8)) }, to: "data")
    }
    for usesListV1 in [false, true] {
      let driver = try StoreDriver(endpoint, usesListV1: usesListV1)
      let all = try driver.list(ObjectKey("many/"))
      #expect(all.objects.map(\.key) == names.map { ObjectKey($0) })
      #expect(all.folders == [ObjectKey("many/zdir/")])
      #expect(driver.metrics.listRequests.count >= 2)
      #expect(driver.metrics.getRequests.count == 0)
      let few = try driver.page(ObjectKey("many/"), limit: 1)
      #expect(few.objects.count + few.folders.count == 1)
      #expect(few.next != nil)
      let none = try driver.page(ObjectKey("absent/"))
      #expect(none.objects.isEmpty && none.folders.isEmpty && none.next == nil)
    }
  }

  @Test(.enabled(if: requireOrSkip(.servers)), arguments: Server.allCases)
  func rangesAreReadExactlyAndAnotherVersionIsNoticed(server: Server) throws {
    let (owner, endpoint) = try server.start()
    defer { withExtendedLifetime(owner) {} }
    let content = body(7, 3_000_001)
    try endpoint.put(content, to: "data", key: "big")
    try endpoint.put([], to: "data", key: "empty")
    let driver = try StoreDriver(endpoint)
    let listed = try driver.list().objects
    #expect(listed.first { $0.key == ObjectKey("empty") }?.size == 0)
    let version = try #require(listed.first { $0.key == ObjectKey("big") }?.version)
    var random = SeededGenerator(seed: 11)
    var ranges: [Range<UInt64>] = [0..<1, 3_000_000..<3_000_001, 0..<3_000_001, 131_071..<131_073]
    for _ in 0..<30 {
      let start = UInt64.random(in: 0..<3_000_001, using: &random)
      ranges.append(start..<UInt64.random(in: start + 1...3_000_001, using: &random))
    }
    var fetched: UInt64 = 0
    for range in ranges {
      let expected = Array(content[Int(range.lowerBound)..<Int(range.upperBound)])
      #expect(try driver.read(version, range) == expected, "\(range)")
      fetched += UInt64(range.count)
    }
    // Those that a busy machine made it retry or hedge are not more than what was asked for.
    let seen = driver.metrics.getRequests.count
    let twice = driver.metrics.retries.count + driver.metrics.hedges.count
    #expect(seen >= UInt64(ranges.count) && seen - min(seen, twice) <= UInt64(ranges.count))
    #expect(driver.metrics.bytesFetched.count == fetched)

    try endpoint.put(body(8, 3_000_001), to: "data", key: "big")
    #expect(
      driver.failure { () throws(StoreError) in _ = try driver.read(version, 5..<500) }?.kind
        == .changed)
    try endpoint.put(body(8, 10), to: "data", key: "big")
    #expect(
      driver.failure { () throws(StoreError) in _ = try driver.read(version, 5..<500) }?.kind
        == .changed)
    try endpoint.delete("data", key: "big")
    #expect(
      driver.failure { () throws(StoreError) in _ = try driver.read(version, 5..<500) }?.kind
        == .notFound)
    #expect(
      driver.failure { () throws(StoreError) in _ = try driver.head(ObjectKey("big")) }?.kind
        == .notFound)
  }

  /// Names that a server which keeps files cannot hold; moto keeps keys as they are, but verifies nothing.
  @Test(.enabled(if: requireOrSkip(.servers)))
  func keysThatNoPathCouldBeAreListedAndReadAsTheyAre() throws {
    let server = try MotoServer.start()
    defer { withExtendedLifetime(server) {} }
    let names = [
      "odd//b", "odd/./c", "odd/../d", "odd/.", "odd/..", "odd/", "odd/\u{1}\u{7F}", "/lead",
    ]
    try server.endpoint.put(
      names.map { (key: Array($0.utf8), body: Array($0.utf8)) }, to: "data")
    let driver = try StoreDriver(server.endpoint)
    let root = try driver.list()
    #expect(Set(root.folders) == [ObjectKey("/"), ObjectKey("odd/")])
    let odd = try driver.list(ObjectKey("odd/"))
    #expect(Set(odd.folders) == [ObjectKey("odd//"), ObjectKey("odd/./"), ObjectKey("odd/../")])
    #expect(
      Set(odd.objects.map(\.key))
        == [ObjectKey("odd/."), ObjectKey("odd/.."), ObjectKey("odd/\u{1}\u{7F}")])
    for folder in ["odd//", "odd/./", "odd/../", "odd/", "/"] {
      for object in try driver.list(ObjectKey(folder)).objects {
        let version = try #require(object.version)
        #expect(try driver.read(version, 0..<version.size) == object.key.bytes)
      }
    }
  }

  @Test(.enabled(if: requireOrSkip(.servers)), arguments: Server.allCases)
  func whatIsRefusedIsToldInPlainWords(server: Server) throws {
    let (owner, endpoint) = try server.start()
    defer { withExtendedLifetime(owner) {} }
    try endpoint.put([1, 2, 3], to: "data", key: "k")
    func refusal(
      _ endpoint: TestSupport.S3Endpoint, bucket: String = "data", isAnonymous: Bool = false
    ) throws -> StoreError {
      let driver = try StoreDriver(endpoint, bucket: bucket, isAnonymous: isAnonymous)
      return try #require(
        driver.failure { () throws(StoreError) in _ = try driver.page(failsFast: true) })
    }
    let missing = try refusal(endpoint, bucket: "no-such-bucket")
    #expect(missing.kind == .noSuchStore, "\(missing)")
    #expect(missing.description.contains("does not exist"))
    let unknown = try refusal(endpoint.signing(accessKey: "AKUNKNOWN", secretKey: "x"))
    #expect(unknown.kind == .badCredentials, "\(unknown)")
    let wrong = try refusal(endpoint.signing(accessKey: endpoint.accessKey, secretKey: "wrong"))
    #expect(wrong.kind == .badCredentials, "\(wrong)")
    let anonymous = try refusal(endpoint, isAnonymous: true)
    #expect(anonymous.kind == .accessDenied, "\(anonymous)")
    let nobody = try refusal(endpoint.reached(at: "http://127.0.0.1:1"))
    #expect(nobody.kind == .unreachable, "\(nobody)")
    let name = try refusal(endpoint.reached(at: "http://no-such-host.invalid"))
    #expect(name.kind == .unreachable, "\(name)")
    let tls = try refusal(
      endpoint.reached(at: "https" + endpoint.url.dropFirst(4)))
    #expect(tls.kind == .tls, "\(tls)")
    for error in [missing, unknown, wrong, anonymous, nobody, name, tls] {
      print(server, error)
      #expect(!error.description.contains(endpoint.secretKey))
      #expect(error.store.hasPrefix("s3://"))
    }
  }
}
