import Formats
import Metrics
import ObjectStore
import Transport

extension HTTPSite {
  /// The site at an address as the user wrote it, perhaps with user and password.
  static func make(
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

  /// For messages: what stands before an "@" in the host's place is a secret, and so are values of a query.
  static func withoutUserInfo(_ text: String) -> String {
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
