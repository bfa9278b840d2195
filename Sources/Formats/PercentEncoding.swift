// By hand: Foundation encodes Strings, and names are bytes that need not be UTF-8.

/// Percent-encoding (RFC 3986 2.1), upper-case digits.
public enum PercentEncoding {
  /// Unreserved bytes (RFC 3986: letters, digits, "-._~") stay, and "/" where `keepsSlash`. What signatures want.
  public static func encode(_ bytes: some Sequence<UInt8>, keepsSlash: Bool = false) -> String {
    var encoded: [UInt8] = []
    encoded.reserveCapacity(bytes.underestimatedCount * 2)
    for byte in bytes {
      if isUnreserved(byte) || (keepsSlash && byte == UInt8(ascii: "/")) {
        encoded.append(byte)
      } else {
        encoded.append(UInt8(ascii: "%"))
        encoded.append(digit(byte >> 4))
        encoded.append(digit(byte & 15))
      }
    }
    return String(decoding: encoded, as: UTF8.self)
  }

  /// "%41".
  public static func escape(_ byte: UInt8) -> [UInt8] {
    [UInt8(ascii: "%"), digit(byte >> 4), digit(byte & 15)]
  }

  private static func digit(_ value: UInt8) -> UInt8 {
    value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "A") + value - 10
  }

  /// Nil where a "%" is not followed by two hex digits: such a text is ambiguous, and so is what it names.
  public static func decode(_ bytes: some Sequence<UInt8>) -> [UInt8]? {
    var out: [UInt8] = []
    var iterator = bytes.makeIterator()
    while let byte = iterator.next() {
      guard byte == UInt8(ascii: "%") else {
        out.append(byte)
        continue
      }
      guard let high = iterator.next().flatMap(Hex.value),
        let low = iterator.next().flatMap(Hex.value)
      else { return nil }
      out.append(high << 4 | low)
    }
    return out
  }

  /// As forms, queries and listings with encoding-type=url are read: "%41" is "A", "+" is a space. A "%" that two
  /// hexadecimal digits do not follow stays as it is. `plusIsSpace`: not so in a path.
  public static func decodeForm(
    _ bytes: some Sequence<UInt8>, plusIsSpace: Bool = true
  ) -> [UInt8] {
    var decoded = Array(bytes)
    decodeForm(&decoded, plusIsSpace: plusIsSpace)
    return decoded
  }

  /// In place: a listing has a million keys.
  public static func decodeForm(_ bytes: inout [UInt8], plusIsSpace: Bool = true) {
    guard
      let first = bytes.firstIndex(where: { $0 == UInt8(ascii: "%") || $0 == UInt8(ascii: "+") })
    else { return }
    var index = first
    var end = first
    while index < bytes.count {
      var byte = bytes[index]
      index += 1
      if byte == UInt8(ascii: "%"), index + 1 < bytes.count, let high = Hex.value(bytes[index]),
        let low = Hex.value(bytes[index + 1])
      {
        byte = high << 4 | low
        index += 2
      } else if plusIsSpace, byte == UInt8(ascii: "+") {
        byte = UInt8(ascii: " ")
      }
      bytes[end] = byte
      end += 1
    }
    bytes.removeLast(bytes.count - end)
  }

  /// A letter or digit of ASCII.
  public static func isAlphanumeric(_ byte: UInt8) -> Bool {
    (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte)
  }

  private static func isUnreserved(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"): true
    default: isAlphanumeric(byte)
    }
  }
}
