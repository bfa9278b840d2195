import Formats
import Testing

@Suite struct HTTPURLTests {
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
  }

  @Test func anAddressIsSplitAsItIsWritten() {
    func split(_ text: String) -> [String]? {
      HTTPURL.split(text).map { [String($0.origin), String($0.rest)] }
    }
    #expect(split("https://U@Host:1/a b?c") == ["https://U@Host:1", "/a b?c"])
    #expect(split("http://h?q=/") == ["http://h", "?q=/"])
    #expect(split("http://h") == ["http://h", ""])
    #expect(split("h/a:b") == nil)
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
}
