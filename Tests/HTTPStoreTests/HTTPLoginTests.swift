import Formats
import Glibc
import Metrics
import ObjectStore
import TestSupport
import Testing
import Transport

@testable import HTTPStore

/// How a site lets us in: netrc against Python's reader of it, bearer tokens that are replaced.
@Suite struct HTTPLoginTests {
  private static let texts = [
    "machine h login me password secret",
    "machine h\n  login me\n  password s3 # no comment\n",
    "machine h login me password a,b;c\n",
    "# comment\nmachine other login a password b\nmachine h user me password \"two words\"\n",
    "default login anybody password guest\n",
    "machine h login first password 1\nmachine h login second password 2\n",
    "macdef init\nput x\nbye\n\nmachine h login me password after\n",
    "machine h login me account x password \"qu\\\"ote\"\n",
    "machine h login me\nmachine x login y password z\n", "",
  ]

  private static let oracle = """
    import netrc, sys
    try:
      found = netrc.netrc(sys.argv[1]).authenticators('h')
      print('none' if found is None else '%s|%s' % (found[0], found[2]))
    except Exception as error:
      print('error')
    """

  @Test func loginsAreThoseThatPythonFinds() throws {
    let folder = try TemporaryFolder("netrc")
    for (index, text) in Self.texts.enumerated() {
      let path = try folder.file("netrc-\(index)", text: text)
      chmod(path, 0o600)
      let theirs = try CommandResult.check(["python3", "-c", Self.oracle, path]).output
        .split(separator: "\n")[0]
      // Python takes "#" in a value as the field's comment only at the head of a line; so do we not differ.
      let login = (try? Netrc(text))?.login(of: "h")
      let ours = login.map { "\($0.name)|\($0.password)" } ?? "none"
      if theirs == "error" { continue }
      // The first of several entries counts, as for curl; Python takes the last.
      if text.contains("second") {
        #expect(ours == "first|1")
      } else {
        #expect(ours == theirs, "\(text)")
      }
    }
  }

  @Test(arguments: ["login me", "machine", "machine h login", "machine h wrong", "\"open"])
  func filesThatAreNoneAreRefused(text: String) {
    #expect(throws: Netrc.Malformed.self) { try Netrc(text) }
  }

  @Test func aFileThatOthersCanReadIsRefused() throws {
    let folder = try TemporaryFolder("netrc")
    let path = try folder.file("netrc", text: Self.texts[0])
    chmod(path, 0o644)
    let error = #expect(throws: StoreError.self) { try Netrc.read(path, isOptional: true) }
    #expect(error?.advice.contains("chmod 600") == true)
    chmod(path, 0o600)
    #expect(try Netrc.read(path, isOptional: false).login(of: "h")?.password == "secret")
    #expect(try Netrc.read(folder.path("none"), isOptional: true) == Netrc())
  }

  @Test func theAddressGoesBeforeTheTokenAndTheTokenBeforeNetrc() throws {
    let folder = try TemporaryFolder("netrc")
    let netrc = try folder.file("netrc", text: "machine h login me password secret")
    chmod(netrc, 0o600)
    var options = HTTPStoreOptions()
    options.netrcFile = netrc
    func header(_ user: String?) throws -> String? {
      try HTTPAuthorization.find(
        userInfo: user.map { Array($0.utf8) }, options: options, host: "h", port: nil
      ).header
    }
    #expect(try header(nil) == "Basic bWU6c2VjcmV0")
    options.bearerTokenFile = try folder.file("token", text: "one\n")
    #expect(try header(nil) == "Bearer one")
    #expect(try header("a:b") == "Basic YTpi")
  }

  @Test func aTokenIsForItsHostAlone() throws {
    var options = HTTPStoreOptions()
    options.bearerToken = "one"
    func header(_ host: String, _ port: Int?, for wanted: String?) throws -> String? {
      options.bearerTokenHost = wanted
      return try HTTPAuthorization.find(userInfo: nil, options: options, host: host, port: port)
        .header
    }
    #expect(try header("a.org", nil, for: nil) == "Bearer one")
    #expect(try header("a.org", 8443, for: "A.org") == "Bearer one")
    #expect(try header("a.org", 8443, for: "a.org:8443") == "Bearer one")
    #expect(try header("b.org", nil, for: "a.org") == nil)
    #expect(try header("a.org", 80, for: "a.org:8443") == nil)
    #expect(try header("a.org.evil", nil, for: "a.org") == nil)
  }

  /// The login and the client certificate of a site are no other's.
  @Test func onlyTheSitesOwnOriginIsShownWhoWeAre() throws {
    func site(_ options: HTTPStoreOptions = HTTPStoreOptions()) throws -> HTTPSite {
      try HTTPStore.makeSite("https://u:p@own.org/d/", options, Metrics().store)
    }
    for (address, isOwn) in [
      ("https://own.org/x", true), ("https://own.org:444/x", false), ("http://own.org/x", false),
      ("https://other.org/x", false),
    ] {
      let request = try site().request(try HTTPURL.parse(address).url, headers: [])
      #expect(request.showsCertificate == isOwn, "\(address)")
      #expect(request.headers.contains { $0.name == "Authorization" } == isOwn, "\(address)")
      if case .own = request.peer {
        #expect(isOwn, "\(address)")
      } else if case .named = request.peer {
        #expect(!isOwn, "\(address)")
      } else {
        #expect(Bool(false), "\(address) is anybody's")
      }
    }
    // A site that a manifest names is shown no certificate.
    var options = HTTPStoreOptions()
    options.namedBy = PeerPolicy()
    let request = try site(options).request(try HTTPURL.parse("https://own.org/x").url, headers: [])
    #expect(!request.showsCertificate)
    guard case .named = request.peer else { return #expect(Bool(false), "not checked") }
  }

  @Test func aLoginWithoutTLSToAnotherMachineIsKnown() throws {
    for (address, isInClear) in [
      ("http://u:p@h.org/", true), ("http://u:p@10.0.0.1/", true), ("https://u:p@h.org/", false),
      ("http://h.org/", false), ("http://u:p@127.0.0.1:80/", false), ("http://u:p@[::1]/", false),
      ("http://u:p@localhost/", false),
    ] {
      let site = try HTTPStore.makeSite(address, HTTPStoreOptions(), Metrics().store)
      #expect(site.sendsSecretsInClear == isInClear, "\(address)")
    }
  }

  @Test func aTokenIsReadAgainWhenItIsRefused() throws {
    let folder = try TemporaryFolder("token")
    var options = HTTPStoreOptions()
    options.bearerTokenFile = try folder.file("token", text: "one")
    let authorization = try HTTPAuthorization.find(
      userInfo: nil, options: options, host: "h", port: nil)
    #expect(!authorization.reload(insteadOf: "Bearer one"))
    try folder.file("token", text: "two")
    #expect(authorization.reload(insteadOf: "Bearer one"))
    #expect(authorization.header == "Bearer two")
  }

  @Test func hubAddressesAreTakenApart() {
    let plain = HubAddress("hf://datasets/o/n")
    #expect(plain?.repository == "datasets/o/n" && plain?.revision == nil && plain?.path == "")
    let model = HubAddress("hf://o/n@v1.0/a/b/")
    #expect(model?.api == "api/models/o/n" && model?.revision == "v1.0" && model?.path == "a/b/")
    #expect(
      HubAddress("hf://datasets/o/n@refs/convert/parquet/x")?.revision == "refs/convert/parquet")
    #expect(HubAddress("hf://datasets/o/n@refs/convert/parquet/x")?.path == "x/")
    #expect(HubAddress("hf://o/n@feature%2Fx")?.revision == "feature/x")
    for bad in ["hf://", "hf://o", "hf://datasets/o", "hf://o/n@", "hf://o/../x", "hf://o/n/../x"] {
      #expect(HubAddress(bad) == nil, "\(bad)")
    }
  }
}
