/// Finds what is secret in an address, `https://USER:PASSWORD@HOST/PATH?SIGNATURE=VALUE`: what stands before the
/// "@" of its host, and the values of its query. Used for messages, log lines and the arguments of processes.
public enum SecretMask {
  /// Schemes whose "@" and "?" are part of a name.
  private static let plainSchemes: [String] = ["s3", "hf", "file"]
  private static let mark = Array("://".utf8)

  /// Ranges of bytes, in order. `inText`: an address ends at a blank or a quote; else it goes to the end.
  public static func ranges(in bytes: [UInt8], inText: Bool) -> [Range<Int>] {
    var found: [Range<Int>] = []
    var index = 0
    while let scheme = nextScheme(in: bytes, from: index) {
      let start = scheme.upperBound
      index = start
      let name = String(decoding: bytes[scheme.lowerBound..<(start - 3)], as: UTF8.self)
      guard !name.isEmpty, !plainSchemes.contains(name.lowercased()) else { continue }
      let end = inText ? bytes[start...].firstIndex(where: endsAddress) ?? bytes.count : bytes.count
      let host = userInfo(bytes, start, end)
      if host > start { found.append(start..<(host - 1)) }
      found += queryValues(bytes, host, end)
      index = end
    }
    return found.filter { !$0.isEmpty }
  }

  /// For people: each secret becomes "***".
  public static func masked(_ text: String) -> String {
    guard text.utf8.contains(UInt8(ascii: ":")) else { return text }
    var bytes = Array(text.utf8)
    for range in ranges(in: bytes, inText: true).reversed() {
      bytes.replaceSubrange(range, with: "***".utf8)
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// One argument of a command, masked.
  public static func masked(argument: String) -> String {
    var bytes = Array(argument.utf8)
    for range in ranges(in: bytes, inText: false).reversed() {
      bytes.replaceSubrange(range, with: "***".utf8)
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// The next "NAME://", from the first byte of its name on.
  private static func nextScheme(in bytes: [UInt8], from start: Int) -> Range<Int>? {
    guard let colon = bytes[start...].firstRange(of: mark) else { return nil }
    var first = colon.lowerBound
    while first > start, isScheme(bytes[first - 1]) { first -= 1 }
    return first..<colon.upperBound
  }

  private static func isScheme(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "+"):
      true
    default: false
    }
  }

  private static func endsAddress(_ byte: UInt8) -> Bool {
    byte <= 0x20 || byte == 0x7F || "'\"<>".utf8.contains(byte)
  }

  /// Where the host begins: `start` where there is no user.
  private static func userInfo(_ bytes: [UInt8], _ start: Int, _ end: Int) -> Int {
    let at = UInt8(ascii: "@")
    let slash = bytes[start..<end].firstIndex { "/?#".utf8.contains($0) } ?? end
    if let last = bytes[start..<slash].lastIndex(of: at) { return last + 1 }
    // A password with a "/" that should be %2F: what looks like a port is none.
    guard let colon = bytes[start..<slash].lastIndex(of: UInt8(ascii: ":")),
      !bytes[(colon + 1)..<slash].allSatisfy({ (48...57).contains($0) }),
      !bytes[start..<slash].contains(UInt8(ascii: "]")),
      let last = bytes[start..<end].lastIndex(of: at)
    else { return start }
    return last + 1
  }

  private static func queryValues(_ bytes: [UInt8], _ host: Int, _ end: Int) -> [Range<Int>] {
    guard let question = bytes[host..<end].firstIndex(of: UInt8(ascii: "?")) else { return [] }
    let last = bytes[question..<end].firstIndex(of: UInt8(ascii: "#")) ?? end
    return bytes[(question + 1)..<last].split(separator: UInt8(ascii: "&")).map { pair in
      // A name without a value may be a token.
      let value = pair.firstIndex(of: UInt8(ascii: "=")).map { $0 + 1 } ?? pair.startIndex
      return value..<pair.endIndex
    }
  }
}
