/// Hexadecimal digits. Written in lower case, read in either.
public enum Hex {
  @usableFromInline static let digits: StaticString = "0123456789abcdef"

  /// The digit of 0 to 15.
  @inlinable
  public static func digit(_ value: UInt8) -> UInt8 { digits.utf8Start[Int(value & 15)] }

  /// 0 to 15; nil: not a digit.
  @inlinable
  public static func value(_ digit: UInt8) -> UInt8? {
    switch digit {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): digit &- UInt8(ascii: "0")
    case UInt8(ascii: "A")...UInt8(ascii: "F"): digit &- UInt8(ascii: "A") &+ 10
    case UInt8(ascii: "a")...UInt8(ascii: "f"): digit &- UInt8(ascii: "a") &+ 10
    default: nil
    }
  }

  /// Two digits a byte.
  public static func encode(_ bytes: some Sequence<UInt8>) -> String {
    var text: [UInt8] = []
    for byte in bytes {
      text.append(digit(byte >> 4))
      text.append(digit(byte))
    }
    return String(decoding: text, as: UTF8.self)
  }

  /// All digits of a number, the high one first.
  public static func encode(_ number: some FixedWidthInteger) -> String {
    withUnsafeBytes(of: number.bigEndian) { encode($0) }
  }

  /// Nil: not digits alone, or an odd number of them.
  public static func decode(_ text: some Sequence<UInt8>) -> [UInt8]? {
    var bytes: [UInt8] = []
    var digits = text.makeIterator()
    while let digit = digits.next() {
      guard let high = value(digit), let low = digits.next().flatMap(value) else { return nil }
      bytes.append(high << 4 | low)
    }
    return bytes
  }
}
