import Metrics
import ObjectStore
import Posix
import Testing
import Transport

@testable import Stores

@Suite struct HTTPURLTests {
  private func site(_ text: String) throws -> HTTPSite {
    try HTTPStore.makeSite(text, HTTPStoreOptions(), Metrics().store)
  }

  @Test func addressIsTakenApart() throws {
    let (url, userInfo) = try HTTPURL.parse("HTTP://me:p%40ss@Example.org:8080/a%20b/")
    #expect(url.host == "example.org")
    #expect(url.port == 8080)
    #expect(url.text == "http://example.org:8080/a%20b/")
    #expect(userInfo == Array("me:p@ss".utf8))
    #expect(try HTTPURL.parse("https://[::1]:443").url.text == "https://[::1]/")
    #expect(try HTTPURL.parse("http://h/ü x").url.target == "/%C3%BC%20x")
  }

  @Test(arguments: [
    "ftp://host/", "http://", "http:///path", "http://host:99999/", "http://host:x/",
    "http://host/%zz", "http://host/%4", "http://ho st/", "http://h/\u{1}", "host/path", "",
    "http://[::1/", "http://u%zz@h/", "http://[xyz]/",
  ])
  func malformedAddressIsRefused(_ text: String) {
    #expect(throws: HTTPURL.Malformed.self) { try HTTPURL.parse(text) }
    #expect(throws: StoreError.self) { try site(text) }
  }

  @Test(arguments: ["http://h/a?b=c", "http://h/a#b", "http://h/a/../b/", "http://h/a//b/"])
  func addressThatIsNoFolderIsRefused(_ text: String) {
    do {
      _ = try site(text)
      Issue.record("\(text) was taken")
    } catch {
      #expect((error as? StoreError)?.kind == .invalidSource)
    }
  }

  @Test func secretsOfTheAddressAreNeverShown() throws {
    let secret = try site("http://me:swordfish@host/data/")
    #expect(secret.displayName == "http://host/data")
    #expect(secret.base.text == "http://host/data/")
    #expect(secret.authorization.header == "Basic bWU6c3dvcmRmaXNo")
    for text in [
      "http://me:sword/fish@host/", "http://me:swordfish@ho st/", "http://me:swordfish@host:x/",
    ] {
      do {
        _ = try site(text)
        Issue.record("\(text) was taken")
      } catch { #expect(!"\(error)".contains("fish"), "\(error)") }
    }
  }

  @Test func credentialsStayWithTheirOrigin() throws {
    let secret = try site("http://me:pw@host/data/")
    func authorized(_ text: String) throws -> Bool {
      secret.request(try HTTPURL.parse(text).url, headers: []).headers
        .contains { $0.name == "Authorization" }
    }
    #expect(try authorized("http://host/elsewhere"))
    #expect(try authorized("http://host:80/elsewhere"))
    #expect(try !authorized("http://host:81/data/"))
    #expect(try !authorized("https://host/data/"))
    #expect(try !authorized("http://other/data/"))
  }

  @Test func everyByteOfAKeyIsEncoded() throws {
    let plain = try site("http://host/data")
    let key = ObjectKey("a b/é+=%&#?\"'\\;:@")
    #expect(
      try plain.url(of: key).text
        == "http://host/data/a%20b/%C3%A9%2B%3D%25%26%23%3F%22%27%5C%3B%3A%40")
    #expect(try plain.url(of: ObjectKey(bytes: [0xff, 0x41])).target == "/data/%FFA")
    #expect(try plain.url(of: ObjectKey("sub/")).target == "/data/sub/")
    #expect(try plain.url(of: .root).target == "/data/")
  }

  @Test(arguments: ["..", "a/../b", "/etc", "a//b", ".", "./a", "a/..", "a//", "a\0b"])
  func keyThatLeadsElsewhereIsNotFound(_ key: String) throws {
    let plain = try site("http://host/data/")
    do {
      _ = try plain.url(of: ObjectKey(key))
      Issue.record("\(key) was taken")
    } catch { #expect(error.kind == .notFound) }
  }

  @Test func referencesAreResolved() throws {
    let base = try HTTPURL.parse("https://h:8443/a/b/c?q=1").url
    func resolved(_ text: String) throws -> String { try base.resolve(text).text }
    #expect(try resolved("d") == "https://h:8443/a/b/d")
    #expect(try resolved("../d?x=%2F") == "https://h:8443/a/d?x=%2F")
    #expect(try resolved("/d") == "https://h:8443/d")
    #expect(try resolved("../../../../d/.") == "https://h:8443/d/")
    #expect(try resolved("//o/d") == "https://o/d")
    #expect(try resolved("http://o:80") == "http://o/")
    #expect(try resolved("?y") == "https://h:8443/a/b/c?y")
    #expect(try resolved("#f") == "https://h:8443/a/b/c?q=1")
    #expect(throws: HTTPURL.Malformed.self) { try resolved("javascript:x") }
  }

  @Test func percentEncodingRoundTrips() {
    var random = SeededGenerator(seed: 1)
    for _ in 0..<2_000 {
      let bytes = random.bytes(upTo: 40)
      #expect(HTTPPercent.decode(HTTPPercent.encodePath(bytes).utf8) == bytes)
    }
  }
}

@Suite struct HTTPRedirectsTests {
  private func step(_ redirects: inout HTTPRedirects, _ location: String) -> HTTPRedirects.Step {
    redirects.follow(HTTPResponseHead(status: 302, headers: [(name: "location", value: location)]))
  }

  @Test func redirectsAreBoundedAndNeverLeaveHTTPS() throws {
    var redirects = HTTPRedirects(start: try HTTPURL.parse("https://h/f").url)
    #expect(step(&redirects, "/f/") == .isFolder)
    redirects.restart()
    guard case .refused = step(&redirects, "http://h/f") else {
      Issue.record("followed to http")
      return
    }
    for hop in 0..<HTTPRedirects.hopsMax { #expect(step(&redirects, "/hop\(hop)") == .follow) }
    guard case .refused = step(&redirects, "/more") else {
      Issue.record("no bound")
      return
    }
    redirects.restart()
    #expect(redirects.current.text == "https://h/f")
    #expect(redirects.follow(HTTPResponseHead(status: 404, headers: [])) == .notRedirected)
    guard case .refused = redirects.follow(HTTPResponseHead(status: 302, headers: [])) else {
      Issue.record("a redirect to nowhere")
      return
    }
    guard case .refused = step(&redirects, "ftp://h/f") else {
      Issue.record("followed to ftp")
      return
    }
  }
}

@Suite struct HTTPTimeTests {
  @Test func datesOfServersAndManifests() {
    #expect(HTTPTime.parseRFC1123("Wed, 21 Oct 2015 07:28:00 GMT") == 1_445_412_480)
    #expect(HTTPTime.parseRFC1123("Thu, 01 Jan 1970 00:00:00 GMT") == 0)
    #expect(HTTPTime.parseRFC1123("Sat, 29 Feb 2020 23:59:59 GMT") == 1_583_020_799)
    #expect(HTTPTime.parseRFC1123("21 Oct 2015 07:28:00") == nil)
    #expect(HTTPTime.parseSecondsOrISO("1445412480") == 1_445_412_480)
    #expect(HTTPTime.parseSecondsOrISO("1445412480.75") == 1_445_412_480)
    #expect(HTTPTime.parseSecondsOrISO("2015-10-21T07:28:00Z") == 1_445_412_480)
    #expect(HTTPTime.parseSecondsOrISO("2015-10-21 09:28:00.123+02:00") == 1_445_412_480)
    #expect(HTTPTime.parseSecondsOrISO("2015-10-21T02:28:00-0500") == 1_445_412_480)
    #expect(HTTPTime.parseSecondsOrISO("2015-10-21") == 1_445_385_600)
    for text in ["", "-", "2015-13-01", "2015-10-21T25:00:00Z", "yesterday", "2015-10-21T", "1e"] {
      #expect(HTTPTime.parseSecondsOrISO(text) == nil, "\(text)")
    }
  }

  @Test func hostileDatesDoNotTrap() {
    var random = SeededGenerator(seed: 2)
    for _ in 0..<5_000 {
      let text = random.text(of: "0123456789-:+.TZ ,GMTOctWed", upTo: 32)
      _ = HTTPTime.parseRFC1123(text)
      _ = HTTPTime.parseSecondsOrISO(text)
    }
  }
}

extension SeededGenerator {
  mutating func bytes(upTo count: Int) -> [UInt8] {
    (0..<Int.random(in: 0...count, using: &self)).map { _ in
      UInt8.random(in: 0...255, using: &self)
    }
  }

  mutating func text(of alphabet: String, upTo count: Int) -> String {
    let letters = Array(alphabet)
    return String(
      (0..<Int.random(in: 0...count, using: &self)).map { _ in letters.randomElement(using: &self)!
      })
  }

  /// A copy with a few bytes changed, dropped, doubled, or the end cut off.
  mutating func damaged(_ bytes: [UInt8]) -> [UInt8] {
    var bytes = bytes
    for _ in 0...Int.random(in: 0...4, using: &self) where !bytes.isEmpty {
      let place = Int.random(in: 0..<bytes.count, using: &self)
      switch UInt8.random(in: 0..<4, using: &self) {
      case 0: bytes[place] = UInt8.random(in: 0...255, using: &self)
      case 1: bytes.remove(at: place)
      case 2: bytes.insert(bytes.randomElement(using: &self)!, at: place)
      default: bytes.removeLast(bytes.count - place)
      }
    }
    return bytes
  }
}
