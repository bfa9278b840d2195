import Formats
import Metrics
import ObjectStore
import Posix
import Testing
import Transport

@testable import HTTPStore

@Suite struct HTTPSiteTests {
  private func site(_ text: String) throws -> HTTPSite {
    try HTTPStore.makeSite(text, HTTPStoreOptions(), Metrics().store)
  }

  @Test(arguments: [
    "ftp://host/", "http://", "http:///path", "http://host:99999/", "http://host:x/",
    "http://host/%zz", "http://host/%4", "http://ho st/", "http://h/\u{1}", "host/path", "",
    "http://[::1/", "http://u%zz@h/", "http://[xyz]/",
  ])
  func malformedAddressIsNoSite(_ text: String) {
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
