/// An http or https address, as far as a store needs one: taken apart, joined with keys, and
/// resolved when a server redirects. Small on purpose; Foundation's URL repairs what it is given,
/// and a repaired name is another object.
struct HTTPURL: Hashable, Sendable {
  var isSecure: Bool
  /// Lower case; an IPv6 address with its brackets.
  var host: String
  var port: Int?
  /// Path and query, percent-encoded, from the first "/".
  var target: String

  struct Malformed: Error, Equatable {
    var reason: String
  }

  /// Scheme, host and port: what credentials are given to.
  var origin: String {
    let standard = isSecure ? 443 : 80
    let suffix = port.map { $0 == standard ? "" : ":\($0)" } ?? ""
    return (isSecure ? "https://" : "http://") + host + suffix
  }

  var text: String { origin + target }

  /// The path, without the query.
  var path: Substring { target.prefix { $0 != "?" } }

  /// "user:password", percent-decoded, where the text has one.
  static func parse(_ text: String) throws(Malformed) -> (url: HTTPURL, userInfo: [UInt8]?) {
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
      userInfo = HTTPPercent.decode(authority[..<at])
      authority = authority[(at + 1)...]
      if userInfo == nil { throw Malformed(reason: "user or password is not percent-encoded") }
    }
    let (host, port) = try parseHost(authority)
    let afterHost = rest[end...].prefix { $0 != UInt8(ascii: "#") }
    var target = try encodeRest(afterHost)
    if !target.hasPrefix("/") { target = "/" + target }
    return (HTTPURL(isSecure: isSecure, host: host, port: port, target: target), userInfo)
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
      ? { HTTPPercent.hexValue($0) != nil || $0 == UInt8(ascii: ":") || $0 == UInt8(ascii: ".") }
      : { HTTPPercent.isAlphanumeric($0) || "-._".utf8.contains($0) }
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
        guard bytes.endIndex - index > 2, HTTPPercent.hexValue(bytes[index + 1]) != nil,
          HTTPPercent.hexValue(bytes[index + 2]) != nil
        else { throw Malformed(reason: "a \"%\" without two hex digits (write %25 for a percent)") }
      }
      if byte < 0x20 || byte == 0x7f {
        throw Malformed(reason: "a control character in the URL")
      }
      if byte == 0x20 || byte >= 0x80 || "\"<>\\^`{|}".utf8.contains(byte) {
        out += HTTPPercent.escape(byte)
      } else {
        out.append(byte)
      }
    }
    return String(decoding: out, as: UTF8.self)
  }

  /// The address that `reference` (a Location header, a link) means when found at this one.
  func resolve(_ reference: String) throws(Malformed) -> HTTPURL {
    let lower = reference.lowercased()
    if lower.hasPrefix("http://") || lower.hasPrefix("https://") {
      return try Self.parse(reference).url.normalised()
    }
    if reference.hasPrefix("//") {
      return try Self.parse((isSecure ? "https:" : "http:") + reference).url.normalised()
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

/// RFC 3986 percent-encoding of bytes.
enum HTTPPercent {
  /// Unreserved characters and "/" stay, everything else is escaped.
  static func encodePath(_ bytes: some Sequence<UInt8>) -> String {
    var out: [UInt8] = []
    for byte in bytes {
      if isAlphanumeric(byte) || "-._~/".utf8.contains(byte) {
        out.append(byte)
      } else {
        out += escape(byte)
      }
    }
    return String(decoding: out, as: UTF8.self)
  }

  static func escape(_ byte: UInt8) -> [UInt8] {
    let digits = Array("0123456789ABCDEF".utf8)
    return [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
  }

  /// `nil` where a "%" is not followed by two hex digits.
  static func decode(_ bytes: some Sequence<UInt8>) -> [UInt8]? {
    var out: [UInt8] = []
    var iterator = bytes.makeIterator()
    while let byte = iterator.next() {
      guard byte == UInt8(ascii: "%") else {
        out.append(byte)
        continue
      }
      guard let high = iterator.next().flatMap(hexValue),
        let low = iterator.next().flatMap(hexValue)
      else { return nil }
      out.append(high << 4 | low)
    }
    return out
  }

  static func isAlphanumeric(_ byte: UInt8) -> Bool {
    (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte)
  }

  static func hexValue(_ byte: UInt8) -> UInt8? {
    switch byte {
    case 48...57: byte - 48
    case 65...70: byte - 55
    case 97...102: byte - 87
    default: nil
    }
  }
}
