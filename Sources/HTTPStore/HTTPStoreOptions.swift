import Formats
import Metrics
public import ObjectStore
import Posix
public import Transport

/// What the user may say of a site beside its address.
public struct HTTPStoreOptions: Sendable {
  /// A list of the files that replaces the server's listings: an http(s) address or a path on this
  /// machine. CSV or JSON lines, see docs; read once, at the mount.
  public var manifest: String?
  /// How long the manifest at an address may take.
  public var manifestTimeout: Duration = .seconds(60)

  /// A token, or a file that holds one.
  public var bearerToken: String?
  public var bearerTokenFile: String?
  /// Logins by host; `nil`: none are looked for.
  public var netrcFile: String?
  public var netrcIsOptional = false
  /// Where files of servers without ranges are kept while they are read, and how much of them.
  public var spool = SpoolAllowance(folder: "/tmp")
  /// The address is a hub's, and this the repository of it that is mounted.
  public var hub: HubAddress?

  /// Keys are what stands behind the origin in an address, query and all: only fetched, never listed.
  public var keysAreTargets = false

  /// The site that is mounted: what it is decides where it may send to. nil: by its own host.
  public var peers: PeerPolicy?
  /// The address comes from this site's manifest and not from the user.
  public var namedBy: PeerPolicy?
  /// "HOST[:PORT]" that `bearerToken` is for; nil: the site that is mounted, whichever it is.
  public var bearerTokenHost: String?

  public init(manifest: String? = nil) { self.manifest = manifest }
}

// How a store is set up.
extension HTTPStore {
  static func makeSite(
    _ text: String, _ options: HTTPStoreOptions = HTTPStoreOptions(), _ metrics: StoreMetrics
  ) throws(StoreError) -> HTTPSite {
    let shown = withoutUserInfo(text)
    func invalid(_ reason: String) -> StoreError {
      StoreError(
        .invalidSource, store: shown, detail: reason,
        advice: "a URL is https://HOST[:PORT]/PATH/")
    }
    if text.utf8.contains(UInt8(ascii: "?")) || text.utf8.contains(UInt8(ascii: "#")) {
      throw invalid("a URL with a query or a fragment cannot be mounted")
    }
    let parsed: (url: HTTPURL, userInfo: [UInt8]?)
    do throws(HTTPURL.Malformed) { parsed = try HTTPURL.parse(text) } catch {
      throw invalid(error.reason)
    }
    var base = parsed.url
    if base.target.utf8.last != UInt8(ascii: "/") { base.target += "/" }
    let path = PercentEncoding.decode(base.target.utf8) ?? []
    guard path.count == 1 || ObjectName.isPath(path[1...].dropLast()) else {
      throw invalid("the path has an empty segment, \".\" or \"..\"")
    }
    let authorization = try HTTPAuthorization.find(
      userInfo: parsed.userInfo, options: options, host: base.host, port: base.port)
    return HTTPSite(
      base: base, authorization: authorization,
      displayName: shown.utf8.last == UInt8(ascii: "/") ? String(shown.dropLast()) : shown,
      metrics: metrics, peers: options.peers ?? PeerPolicy(host: base.host),
      namedBy: options.namedBy)
  }

  static func loadManifest(
    _ options: HTTPStoreOptions, _ site: HTTPSite, _ transport: Transport
  ) throws(StoreError) -> HTTPManifest? {
    guard let source = options.manifest else { return nil }
    let lower = source.lowercased()
    let isAddress = lower.hasPrefix("http://") || lower.hasPrefix("https://")
    let shown = isAddress ? withoutUserInfo(source) : source
    let text =
      isAddress
      ? try download(source, shown, site, transport, within: options.manifestTimeout)
      : try readFile(source)
    do throws(ManifestLines.Malformed) { return try HTTPManifest(parsing: text) } catch {
      throw StoreError(
        .invalidSource, store: "manifest \(shown)", detail: "line \(error.line): \(error.reason)",
        advice: "a line is path,size,mtime,etag or a JSON object with these names")
    }
  }

  private static func download(
    _ source: String, _ shown: String, _ site: HTTPSite, _ transport: Transport,
    within timeout: Duration
  ) throws(StoreError) -> [UInt8] {
    let parsed: (url: HTTPURL, userInfo: [UInt8]?)
    do throws(HTTPURL.Malformed) { parsed = try HTTPURL.parse(source) } catch {
      throw StoreError(.invalidSource, store: "manifest \(shown)", detail: error.reason)
    }
    // The site's own user and password also open a manifest that lies beside the data.
    let isBeside = parsed.url.origin == site.base.origin && parsed.userInfo == nil
    let own = try HTTPAuthorization.find(
      userInfo: parsed.userInfo, options: HTTPStoreOptions(), host: parsed.url.host, port: nil)
    let place = HTTPSite(
      base: parsed.url, authorization: isBeside ? site.authorization : own,
      displayName: "manifest \(shown)", metrics: site.metrics,
      peers: PeerPolicy(host: parsed.url.host))
    return try document(
      parsed.url, of: place, bytesMax: HTTPManifest.bytesMax, transport, within: timeout)
  }

  /// A document, waited for.
  private static func document(
    _ url: HTTPURL, of site: HTTPSite, bytesMax: Int, _ transport: Transport,
    within timeout: Duration
  ) throws(StoreError) -> [UInt8] {
    let answer = Monitor<Result<[UInt8], StoreError>?>(nil)
    let exchange = HTTPDocumentExchange(
      site: site, url: url, key: nil, bytesMax: bytesMax, failsFast: true
    ) { result in
      answer.signal { $0 = result.map { $0.body.bytes } }
    }
    transport.start(exchange, deadline: .now + timeout)
    // The transport ends every exchange by its deadline.
    return try answer.wait { $0 }!.get()
  }

  /// The tree of a repository of a hub's, pinned to the commit that its revision is now: a mount shows one
  /// commit to its end. `site` is the hub itself; returned is that of the commit's files.
  static func pin(
    _ address: HubAddress, at hub: HTTPSite, _ transport: Transport, within timeout: Duration
  ) throws(StoreError) -> (site: HTTPSite, tree: HubTree) {
    func url(_ path: String) -> HTTPURL {
      var url = hub.base
      url.target += path
      return url
    }
    var named = hub
    named.displayName = address.text
    named.isHub = true
    let revision = PercentEncoding.encode((address.revision ?? "main").utf8)
    let found: [UInt8]
    do throws(StoreError) {
      found = try document(
        url("\(address.api)/revision/\(revision)"), of: named, bytesMax: 16 << 20, transport,
        within: timeout)
    } catch {
      var error = error
      switch error.kind {
      case .notFound:
        error.kind = .noSuchStore
        error.advice =
          "check owner, name and revision; private repositories need a token (HF_TOKEN)"
      case .accessDenied:
        error.advice = HTTPSite.gateAdvice
      default: break
      }
      throw error
    }
    do throws(HubTree.Malformed) {
      let (sha, modified) = try HubTree.commit(found)
      named.base = url("\(address.repository)/resolve/\(sha)/")
      named.displayName = address.text + (address.revision == sha ? "" : " (\(sha.prefix(12)))")
      return (named, HubTree(listing: url("\(address.api)/tree/\(sha)/"), modified: modified))
    } catch {
      throw StoreError(
        .badReply, store: address.text, detail: "invalid response from the hub: \(error.reason)",
        advice: "check HF_ENDPOINT")
    }
  }

  private static func readFile(_ path: String) throws(StoreError) -> [UInt8] {
    do throws(UnreadableFile) {
      return try readRegularFile(path, atMost: HTTPManifest.bytesMax)
    } catch {
      throw StoreError(.invalidSource, store: "manifest \(path)", detail: error.reason)
    }
  }

  /// For messages: what stands before an "@" in the host's place is a secret, and so are values of a query.
  private static func withoutUserInfo(_ text: String) -> String {
    guard let slashes = text.firstRange(of: "://") else { return text }
    let start = slashes.upperBound
    // A password with a "/" that should be %2F: the text is no address, and is not repeated.
    let text = SecretMask.masked(argument: text)
    let isAddress = (try? HTTPURL.parse(text)) != nil
    let slash = text[start...].firstIndex { "/?#".contains($0) } ?? text.endIndex
    let end = isAddress ? slash : text.endIndex
    guard let at = text[start..<end].lastIndex(of: "@") else { return text }
    return String(text[..<start] + text[text.index(after: at)...])
  }
}
