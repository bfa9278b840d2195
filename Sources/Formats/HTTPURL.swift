// By hand: Foundation's URL repairs what it is given, and a repaired name is another object.

/// An http or https address, as far as a store needs one: taken apart, joined with keys, and resolved when a server
/// redirects.
public struct HTTPURL: Hashable, Sendable {
  /// https.
  public var isSecure: Bool
  /// Lower case; an IPv6 address with its brackets.
  public var host: String
  /// 1 to 65535; nil: not given.
  public var port: Int?
  /// Path and query, percent-encoded, from the first "/".
  public var target: String

  /// What is wrong with a text that is no address.
  public struct Malformed: Error, Equatable {
    public var reason: String
  }

  /// "https" or "http".
  public var scheme: String { isSecure ? "https" : "http" }

  /// Host and port as in the Host header, which libcurl sends without the scheme's own port, and which is signed.
  public var authority: String {
    host + (port.map { $0 == (isSecure ? 443 : 80) ? "" : ":\($0)" } ?? "")
  }

  /// Scheme, host and port: what credentials are given to.
  public var origin: String { scheme + "://" + authority }

  /// The whole address, without a user.
  public var text: String { origin + target }

  /// The path, without the query.
  public var path: Substring { target.prefix { $0 != "?" } }

  /// "user:password", percent-decoded, where the text has one.
  public static func parse(_ text: String) throws(Malformed) -> (url: HTTPURL, userInfo: [UInt8]?) {
    let lower = text.lowercased()
    let isSecure = lower.hasPrefix("https://")
    guard isSecure || lower.hasPrefix("http://") else {
      throw Malformed(reason: "not an http:// or https:// URL")
    }
    let rest = Array(text.utf8.dropFirst(isSecure ? 8 : 7))
    let end = rest.firstIndex { "/?#".utf8.contains($0) } ?? rest.count
    var authority = rest[..<end]
    var userInfo: [UInt8]?
    if let at = authority.lastIndex(of: UInt8(ascii: "@")) {
      userInfo = PercentEncoding.decode(authority[..<at])
      authority = authority[(at + 1)...]
      if userInfo == nil { throw Malformed(reason: "user or password is not percent-encoded") }
    }
    let (host, port) = try parseHost(authority)
    let afterHost = rest[end...].prefix { $0 != UInt8(ascii: "#") }
    var target = try encodeRest(afterHost)
    if !target.hasPrefix("/") { target = "/" + target }
    return (HTTPURL(isSecure: isSecure, host: host, port: port, target: target), userInfo)
  }

  /// The text of an address before its path, query or fragment, and the rest, both as they are written. Nil: it does
  /// not begin with a scheme.
  public static func split(_ text: String) -> (origin: Substring, rest: Substring)? {
    let bytes = text.utf8
    guard let colon = bytes.firstIndex(of: UInt8(ascii: ":")),
      bytes[colon...].starts(with: "://".utf8)
    else { return nil }
    let host = bytes.index(colon, offsetBy: 3)
    let end = bytes[host...].firstIndex { "/?#".utf8.contains($0) } ?? bytes.endIndex
    return (text[..<end], text[end...])
  }

  private static func parseHost(
    _ authority: ArraySlice<UInt8>
  ) throws(Malformed) -> (host: String, port: Int?) {
    var host = authority
    var port: Int?
    let bracket = authority.lastIndex(of: UInt8(ascii: "]"))
    if let colon = authority.lastIndex(of: UInt8(ascii: ":")), colon > bracket ?? -1 {
      let digits = String(decoding: authority[(colon + 1)...], as: UTF8.self)
      host = authority[..<colon]
      if !digits.isEmpty {
        guard digits.utf8.allSatisfy({ (48...57).contains($0) }), let number = Int(digits),
          (1...65_535).contains(number)
        else { throw Malformed(reason: "the port is not a number from 1 to 65535") }
        port = number
      }
    }
    guard !host.isEmpty else { throw Malformed(reason: "the host is missing") }
    let isLiteral = host.first == UInt8(ascii: "[") && host.last == UInt8(ascii: "]")
    let name = isLiteral ? host.dropFirst().dropLast() : host
    let allowed: (UInt8) -> Bool =
      isLiteral
      ? { Hex.value($0) != nil || $0 == UInt8(ascii: ":") || $0 == UInt8(ascii: ".") }
      : { PercentEncoding.isAlphanumeric($0) || "-._".utf8.contains($0) }
    guard !name.isEmpty, name.allSatisfy(allowed) else {
      throw Malformed(reason: "the host contains a character that no host name has")
    }
    return (String(decoding: host, as: UTF8.self).lowercased(), port)
  }

  /// Leaves what is encoded alone, encodes what cannot be sent, refuses what is ambiguous.
  private static func encodeRest(_ bytes: ArraySlice<UInt8>) throws(Malformed) -> String {
    var out: [UInt8] = []
    for (index, byte) in zip(bytes.indices, bytes) {
      if byte == UInt8(ascii: "%") {
        guard bytes.endIndex - index > 2, Hex.value(bytes[index + 1]) != nil,
          Hex.value(bytes[index + 2]) != nil
        else { throw Malformed(reason: "a \"%\" without two hex digits (write %25 for a percent)") }
      }
      if byte < 0x20 || byte == 0x7f {
        throw Malformed(reason: "a control character in the URL")
      }
      if byte == 0x20 || byte >= 0x80 || "\"<>\\^`{|}".utf8.contains(byte) {
        out += PercentEncoding.escape(byte)
      } else {
        out.append(byte)
      }
    }
    return String(decoding: out, as: UTF8.self)
  }

  /// The address that `reference` (a Location header, a link) means when found at this one.
  public func resolve(_ reference: String) throws(Malformed) -> HTTPURL {
    let lower = reference.lowercased()
    if lower.hasPrefix("http://") || lower.hasPrefix("https://") {
      return try Self.parse(reference).url.normalised()
    }
    if reference.hasPrefix("//") {
      return try Self.parse(scheme + ":" + reference).url.normalised()
    }
    let start = reference.utf8.prefix { !"/?#".utf8.contains($0) }
    if start.contains(UInt8(ascii: ":")) {
      throw Malformed(reason: "the URL is not http or https")
    }
    let bytes = Array(reference.utf8).prefix { $0 != UInt8(ascii: "#") }
    let encoded = try Self.encodeRest(bytes)
    var result = self
    if encoded.hasPrefix("/") {
      result.target = encoded
    } else if encoded.hasPrefix("?") {
      result.target = path + encoded
    } else if !encoded.isEmpty {
      let folder = path[...(path.lastIndex(of: "/") ?? path.startIndex)]
      result.target = folder + encoded
    }
    return result.normalised()
  }

  /// RFC 3986 5.2.4: "." and ".." in the path are followed.
  private func normalised() -> HTTPURL {
    let query = target.dropFirst(path.count)
    var kept: [Substring] = []
    let segments = path.dropFirst().split(separator: "/", omittingEmptySubsequences: false)
    for (index, segment) in segments.enumerated() {
      let isLast = index == segments.count - 1
      switch segment {
      case ".": if isLast { kept.append("") }
      case "..":
        if !kept.isEmpty { kept.removeLast() }
        if isLast { kept.append("") }
      default: kept.append(segment)
      }
    }
    var result = self
    result.target = "/" + kept.joined(separator: "/") + query
    return result
  }
}
