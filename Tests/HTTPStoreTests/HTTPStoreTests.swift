import Glibc
import Metrics
import ObjectStore
import Posix
import TestSupport
import Testing

@testable import HTTPStore

/// Against real servers: nginx with both kinds of listing, Python's, rclone's.
@Suite(.serialized) struct HTTPStoreTests {
  /// The names that go wrong, each with contents that tell it from the others.
  private static let oddNames = [
    "plain.bin", "with space", "ünïcode-☺", "a+b=c%d&e#f", "quote\"and'quote", "question?mark",
    "semi;colon:at@", "percent%41", "back\\slash", "[x]{y}|^~`", "&amp;", "<tag>",
    String(repeating: "n", count: 255),
  ]

  private static func makeTree() throws -> TemporaryFolder {
    let folder = try TemporaryFolder("http")
    for (index, name) in oddNames.enumerated() {
      try folder.file("data/" + name, contents(1000 + index))
      try folder.file("data/sub \(index) é/" + name, contents(10 + index))
    }
    try folder.file("data/empty", [])
    try folder.file("data/one", [7])
    try folder.file("data/big", contents(3_000_001))
    try folder.folder("data/hollow")
    return folder
  }

  static func contents(_ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8 &+ count) }
  }

  /// Walks the site and compares every byte with the folder that is served.
  private func compare(_ site: TestSite, with root: String) throws {
    var pending = [""]
    var files = 0
    while let folder = pending.popLast() {
      let page = try site.calls.list(folder)
      #expect(page.next == nil)
      pending += page.folders.map(\.description)
      for object in page.objects {
        files += 1
        let expected = try readFile(root + "/" + object.key.description)
        #expect(try site.calls.read(object.key) == expected, "\(object.key)")
        if let version = object.version, version.size > 0 {
          #expect(try site.calls.fetch(version) == expected, "\(object.key)")
        }
      }
    }
    #expect(files == 2 * Self.oddNames.count + 3)
  }

  private func ranges(_ site: TestSite) throws {
    let version = try #require(try site.calls.head("big").version)
    let whole = Self.contents(3_000_001)
    for range: Range<UInt64> in [
      0..<1, 3_000_000..<3_000_001, 0..<3_000_001, 131_072..<262_144, 1_999_999..<2_000_003,
    ] {
      #expect(
        try site.calls.fetch(version, range)
          == Array(whole[Int(range.lowerBound)..<Int(range.upperBound)]))
    }
    #expect(try site.calls.head("empty").size == 0)
  }

  private func absence(_ site: TestSite) throws {
    #expect(StoreCalls.failure { _ = try site.calls.head("nothing") }?.kind == .notFound)
    #expect(StoreCalls.failure { _ = try site.calls.head("hollow") }?.kind == .notFound)
    #expect(StoreCalls.failure { _ = try site.calls.head("../data/one") }?.kind == .notFound)
    let missing = try site.calls.list("missing/")
    #expect(missing.objects.isEmpty && missing.folders.isEmpty)
    let hollow = try site.calls.list("hollow/")
    #expect(hollow.objects.isEmpty && hollow.folders.isEmpty)
  }

  @Test(
    .enabled(if: requireOrSkip(.program("nginx"))),
    arguments: [Nginx.Listing.json, .html, .htmlExact])
  func nginxTreeIsReadByteForByte(_ listing: Nginx.Listing) throws {
    let tree = try Self.makeTree()
    let server = try Nginx.start(root: tree.path, autoindex: listing)
    defer { server.stop() }
    let site = try TestSite(server.url + "/data")
    try compare(site, with: tree.path("data"))
    try ranges(site)
    try absence(site)
    #expect(site.store.traits.supportsRanges)
    #expect(site.metrics.store.bytesFetched.count > 3_000_001)
  }

  @Test(.enabled(if: requireOrSkip(.program("python3"))))
  func serverWithoutRangesIsReadByteForByte() throws {
    let tree = try Self.makeTree()
    let port = try freePorts(1)[0]
    let server = try ServerProcess(
      ["python3", "-m", "http.server", "\(port)", "--bind", "127.0.0.1", "--directory", tree.path],
      port: port, log: tree.path("log"))
    defer { server.stop() }
    let site = try TestSite("http://127.0.0.1:\(port)/data/")
    try compare(site, with: tree.path("data"))
    try ranges(site)
    try absence(site)
    #expect(!site.store.traits.supportsRanges)
  }

  @Test(.enabled(if: requireOrSkip(.servers)))
  func rcloneTreeIsReadByteForByte() throws {
    let tree = try Self.makeTree()
    let port = try freePorts(1)[0]
    let server = try ServerProcess(
      [
        try VirtualEnvironment.shared().program("rclone"), "serve", "http", tree.path, "--addr",
        "127.0.0.1:\(port)", "--config", tree.file("rclone.conf", text: ""), "--dir-cache-time",
        "0s",
      ], port: port, log: tree.path("log"))
    defer { server.stop() }
    let site = try TestSite("http://127.0.0.1:\(port)/data/")
    try compare(site, with: tree.path("data"))
    try ranges(site)
    try absence(site)
  }

  @Test(.enabled(if: requireOrSkip(.program("nginx"))), arguments: [true, false])
  func overwrittenFileIsChangedAndNeverMixed(_ byListing: Bool) throws {
    let tree = try TemporaryFolder("http")
    try tree.file("f", Self.contents(100_000))
    let server = try Nginx.start(root: tree.path)
    defer { server.stop() }
    let site = try TestSite(server.url)
    let seen =
      byListing
      ? try #require(try site.calls.list().objects.first) : try site.calls.head("f")
    #expect(seen.etag.isEmpty == byListing)
    let version = try #require(seen.version)
    #expect(try site.calls.fetch(version, 0..<50_000).count == 50_000)
    for size in [100_000, 99_999, 10] {
      try tree.file("f.new", [UInt8](repeating: 1, count: size))
      var times = [
        timespec(tv_sec: 1, tv_nsec: 0), timespec(tv_sec: 1_000_000_000 + size, tv_nsec: 0),
      ]
      utimensat(AT_FDCWD, tree.path("f.new"), &times, 0)
      rename(tree.path("f.new"), tree.path("f"))
      let error = StoreCalls.failure { _ = try site.calls.fetch(version, 50_000..<100_000) }
      #expect(error?.kind == .changed)
      #expect(error?.key == ObjectKey("f"))
    }
    unlink(tree.path("f"))
    #expect(
      StoreCalls.failure { _ = try site.calls.fetch(version, 0..<100_000) }?.kind == .notFound)
  }

  @Test(.enabled(if: requireOrSkip(.program("nginx"))))
  func passwordOfTheAddressOpensTheSite() throws {
    let tree = try TemporaryFolder("http")
    try tree.file("data/f", text: "secret")
    let passwords = try tree.file("passwords", text: "me:{PLAIN}p@ss word\n")
    let server = try Nginx.start(
      root: tree.path, extra: "auth_basic x; auth_basic_user_file \(passwords);")
    defer { server.stop() }
    let host = server.url.dropFirst("http://".count)
    let site = try TestSite("http://me:p%40ss%20word@\(host)/data/")
    #expect(try site.calls.read(ObjectKey("f")) == Array("secret".utf8))
    for address in ["http://\(host)/data/", "http://me:wrong@\(host)/data/"] {
      let error = StoreCalls.failure { _ = try TestSite(address).calls.list() }
      #expect(error?.kind == .accessDenied)
      #expect(error?.advice.contains("password") == true)
      #expect(error.map { !"\($0)".contains("wrong") } == true)
    }
    #expect(!site.store.displayName.contains("me") && !site.store.identity.contains("ss"))
  }

  @Test(.enabled(if: requireOrSkip(.program("nginx"))))
  func siteWithoutListingSaysWhatToDoAndAManifestServesIt() throws {
    let tree = try TemporaryFolder("http")
    try tree.file("data/a b/f", text: "hello")
    try tree.file("data/g", text: "world!")
    let list = "path,size\na b/f,5\ng,\ngone,3\n"
    let local = try tree.file("manifest.csv", text: list)
    try tree.file("data/list.csv", text: list)
    let server = try Nginx.start(root: tree.path, autoindex: .none)
    defer { server.stop() }
    let bare = StoreCalls.failure { _ = try TestSite(server.url + "/data").calls.list() }
    #expect(bare?.kind == .accessDenied)
    #expect(bare?.advice.contains("--manifest") == true)
    let absent = StoreCalls.failure { _ = try TestSite(server.url + "/none").calls.list() }
    #expect(absent?.kind == .noSuchStore)
    for manifest in [local, server.url + "/data/list.csv"] {
      let site = try TestSite(server.url + "/data", manifest: manifest)
      let page = try site.calls.list()
      #expect(page.folders == [ObjectKey("a b/")])
      #expect(page.objects.map(\.key) == [ObjectKey("g"), ObjectKey("gone")])
      #expect(try site.calls.read(ObjectKey("a b/f")) == Array("hello".utf8))
      #expect(try site.calls.read(ObjectKey("g")) == Array("world!".utf8))
      #expect(StoreCalls.failure { _ = try site.calls.head("list.csv") }?.kind == .notFound)
      #expect(
        StoreCalls.failure { _ = try site.calls.read(ObjectKey("gone")) }?.kind == .notFound)
    }
    for (manifest, word) in [(tree.path("none.csv"), "opened"), (server.url + "/none.csv", "404")] {
      let error = StoreCalls.failure { _ = try TestSite(server.url, manifest: manifest) }
      #expect(error.map { "\($0)".contains(word) } == true, "\(String(describing: error))")
    }
  }

  @Test func unreachableHostFailsAtOnceForSomebodyWhoWaits() throws {
    let port = try freePorts(1)[0]
    let site = try TestSite("http://127.0.0.1:\(port)/")
    let error = StoreCalls.failure { _ = try site.calls.list(failsFast: true) }
    #expect(error?.kind == .unreachable)
    #expect(site.metrics.store.retries.count == 0)
  }

  @Test(.enabled(if: requireOrSkip(.program("nginx"))))
  func shutdownAndCancelEndWhatIsUnderWay() throws {
    let tree = try TemporaryFolder("http")
    try tree.file("f", Self.contents(1_000_000))
    let server = try Nginx.start(root: tree.path, rate: 50_000)
    defer { server.stop() }
    let site = try TestSite(server.url)
    let version = try #require(try site.calls.head("f").version)
    let request = FetchRequest(
      version: version, range: 0..<version.size, deadline: .now + .seconds(60))
    let given = ByteSink()
    let ticket = site.store.fetch(request, into: given)
    #expect(given.waitForBytes(1))
    ticket.cancel()
    #expect(StoreCalls.failure { _ = try given.wait() }?.kind == .cancelled)
    let left = ByteSink()
    site.store.fetch(request, into: left)
    #expect(left.waitForBytes(1))
    site.store.shutdown()
    #expect(StoreCalls.failure { _ = try left.wait() }?.kind == .cancelled)
    #expect(given.finishes == 1 && left.finishes == 1)
    #expect(StoreCalls.failure { _ = try site.calls.list() }?.kind == .cancelled)
  }
}
