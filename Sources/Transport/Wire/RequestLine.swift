import Posix

/// One attempt as a line of the log at level debug: "GET host/bucket/key bytes=0-131071 206 131072 B 12.3 ms (TTFB 9.1 ms)".
enum RequestLine {
  /// Parameters of listings and versions. Every other one may be a token or a signature.
  private static let harmless: Set<String> = [
    "list-type", "prefix", "delimiter", "max-keys", "start-after", "marker", "key-marker",
    "versions", "versionId", "version-id-marker", "encoding-type", "fetch-owner", "recursive",
    "expand", "limit", "session",
  ]

  static func label(_ request: HTTPRequest) -> String {
    var label = "\(request.method.rawValue) \(address(request.url))"
    if let range = request.headers.first(where: { $0.name.lowercased() == "range" }) {
      label += " \(range.value)"
    }
    return label
  }

  /// Host, path and query without user, password and secrets.
  static func address(_ url: String) -> String {
    var rest = url[...]
    if let mark = rest.firstRange(of: "://") { rest = rest[mark.upperBound...] }
    let host = rest.prefix { $0 != "/" && $0 != "?" }
    let shown = host.lastIndex(of: "@").map { host[host.index(after: $0)...] } ?? host
    rest = rest[host.endIndex...].prefix { $0 != "#" }
    let path = rest.prefix { $0 != "?" }
    let query = rest[path.endIndex...].dropFirst().split(separator: "&").map { pair in
      let name = pair.prefix { $0 != "=" }
      if harmless.contains(String(name)) { return String(pair) }
      return name.count == pair.count ? "***" : "\(name)=***"
    }
    return String(shown + path) + (query.isEmpty ? "" : "?" + query.joined(separator: "&"))
  }

  static func ended(
    _ label: String, status: Int?, received: Int, after: Duration, firstByte: Duration?,
    error: String
  ) -> String {
    var line = label
    if let status {
      line += " \(status) \(received) B \(after.shownInMilliseconds)"
    } else {
      line += " no response \(after.shownInMilliseconds)"
    }
    if let firstByte { line += " (TTFB \(firstByte.shownInMilliseconds))" }
    return error.isEmpty ? line : "\(line): \(error)"
  }
}
