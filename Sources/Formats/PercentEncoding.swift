/// Percent-encoding as signatures want it: once, strictly, upper-case digits.
public enum PercentEncoding {
  /// Unreserved bytes (RFC 3986: letters, digits, "-._~") stay, and "/" where `keepsSlash`.
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

  /// As listings with encoding-type=url are read: "%41" is "A", "+" is a space. A "%" that two
  /// hexadecimal digits do not follow stays as it is.
  public static func decodeForm(_ bytes: [UInt8]) -> [UInt8] {
    var decoded = bytes
    decodeForm(&decoded)
    return decoded
  }

  /// In place.
  public static func decodeForm(_ bytes: inout [UInt8]) {
    guard
      let first = bytes.firstIndex(where: { $0 == UInt8(ascii: "%") || $0 == UInt8(ascii: "+") })
    else { return }
    var index = first
    var end = first
    while index < bytes.count {
      var byte = bytes[index]
      index += 1
      if byte == UInt8(ascii: "%"), index + 1 < bytes.count, let high = value(bytes[index]),
        let low = value(bytes[index + 1])
      {
        byte = high << 4 | low
        index += 2
      } else if byte == UInt8(ascii: "+") {
        byte = UInt8(ascii: " ")
      }
      bytes[end] = byte
      end += 1
    }
    bytes.removeLast(bytes.count - end)
  }

  private static func isUnreserved(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."),
      UInt8(ascii: "_"), UInt8(ascii: "~"):
      true
    default: false
    }
  }

  private static func digit(_ value: UInt8) -> UInt8 {
    value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "A") + value - 10
  }

  private static func value(_ digit: UInt8) -> UInt8? {
    switch digit {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
    case UInt8(ascii: "A")...UInt8(ascii: "F"): digit - UInt8(ascii: "A") + 10
    case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
    default: nil
    }
  }
}
