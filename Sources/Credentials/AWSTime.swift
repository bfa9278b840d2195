import Glibc

/// Times as AWS's services write them.
public enum AWSTime {
  /// "2026-11-23T20:00:00Z", also with a fraction, or "+00:00" (or any other offset) in place of "Z". Seconds
  /// since 1970.
  public static func parse(_ text: String) -> Int64? {
    let bytes = Array(text.utf8)
    guard bytes.count >= 20, bytes[4] == 0x2D, bytes[7] == 0x2D, bytes[13] == 0x3A,
      bytes[16] == 0x3A
    else { return nil }
    func number(_ range: Range<Int>) -> Int? {
      Int(String(decoding: bytes[range], as: UTF8.self))
    }
    guard let year = number(0..<4), let month = number(5..<7), let day = number(8..<10),
      let hour = number(11..<13), let minute = number(14..<16), let second = number(17..<19),
      (1970...9999).contains(year), (1...12).contains(month), (1...31).contains(day),
      (0..<24).contains(hour), (0..<60).contains(minute), (0...60).contains(second)
    else { return nil }
    var rest = bytes[19...]
    if rest.first == UInt8(ascii: ".") {
      rest = rest.dropFirst().drop { (0x30...0x39).contains($0) }
    }
    guard let offset = offset(Array(rest)) else { return nil }
    var parts = tm()
    parts.tm_year = CInt(year - 1900)
    parts.tm_mon = CInt(month - 1)
    parts.tm_mday = CInt(day)
    parts.tm_hour = CInt(hour)
    parts.tm_min = CInt(minute)
    parts.tm_sec = CInt(second)
    return Int64(timegm(&parts)) - offset
  }

  /// Seconds east of Greenwich: "Z", "+01:00", "-0800".
  private static func offset(_ zone: [UInt8]) -> Int64? {
    if zone == [UInt8(ascii: "Z")] || zone == [UInt8(ascii: "z")] { return 0 }
    guard let sign = zone.first, sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-") else {
      return nil
    }
    let digits = zone.dropFirst().filter { $0 != UInt8(ascii: ":") }
    guard digits.count == 4, let value = Int64(String(decoding: digits, as: UTF8.self)) else {
      return nil
    }
    let seconds = value / 100 * 3600 + value % 100 * 60
    return sign == UInt8(ascii: "+") ? seconds : -seconds
  }

  /// "2026-11-23T20:00:00Z".
  static func stamp(_ seconds: Int64) -> String {
    let words = text(seconds).split(separator: " ")
    return "\(words[0])T\(words[1])Z"
  }

  /// "2026-11-23 20:00:00 UTC".
  static func text(_ seconds: Int64) -> String {
    let stamp = Array(SigV4Signer.timestamp(seconds))
    func part(_ range: Range<Int>) -> String { String(stamp[range]) }
    return "\(part(0..<4))-\(part(4..<6))-\(part(6..<8)) \(part(9..<11)):\(part(11..<13)):"
      + "\(part(13..<15)) UTC"
  }
}
