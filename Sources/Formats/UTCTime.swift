import Glibc

/// The two ways in which S3 writes a time, read into seconds since 1970.
enum S3Date {
  /// "2026-11-23T11:15:00[.000](Z|+01:00)", of listings and error bodies; fractions are dropped.
  static func iso8601(_ text: String) -> Int64? { iso8601(Array(text.utf8)) }

  static func iso8601(_ text: [UInt8]) -> Int64? {
    if let common = utc(text) { return common }
    var scanner = Scanner(text)
    guard let year = scanner.number(4), scanner.take("-"), let month = scanner.number(2),
      scanner.take("-"), let day = scanner.number(2), scanner.take("T") || scanner.take(" "),
      let hour = scanner.number(2), scanner.take(":"), let minute = scanner.number(2),
      scanner.take(":"), let second = scanner.number(2)
    else { return nil }
    if scanner.take(".") { scanner.skipDigits() }
    var offset = 0
    if scanner.take("Z") || scanner.isAtEnd {
      offset = 0
    } else {
      let sign = scanner.take("+") ? 1 : scanner.take("-") ? -1 : 0
      guard sign != 0, let hours = scanner.number(2) else { return nil }
      _ = scanner.take(":")
      guard let minutes = scanner.number(2) else { return nil }
      offset = sign * (hours * 3600 + minutes * 60)
    }
    guard scanner.isAtEnd else { return nil }
    return seconds(year, month, day, hour, minute, second).map { $0 - Int64(offset) }
  }

  /// What every store writes, "2026-11-23T11:15:00.000Z", in one go.
  private static func utc(_ text: [UInt8]) -> Int64? {
    guard text.count == 24 || text.count == 20, text.last == UInt8(ascii: "Z") else { return nil }
    func number(_ start: Int, _ count: Int) -> Int? {
      var value = 0
      for index in start..<start + count {
        let digit = text[index] &- 48
        guard digit < 10 else { return nil }
        value = value * 10 + Int(digit)
      }
      return value
    }
    guard text[4] == UInt8(ascii: "-"), text[7] == UInt8(ascii: "-"), text[10] == UInt8(ascii: "T"),
      text[13] == UInt8(ascii: ":"), text[16] == UInt8(ascii: ":"),
      text.count == 20 || (text[19] == UInt8(ascii: ".") && number(20, 3) != nil),
      let year = number(0, 4), let month = number(5, 2), let day = number(8, 2),
      let hour = number(11, 2), let minute = number(14, 2), let second = number(17, 2)
    else { return nil }
    return seconds(year, month, day, hour, minute, second)
  }

  /// "Mon, 23 Nov 2026 11:15:00 GMT", of the headers Date and Last-Modified.
  static func http(_ text: String) -> Int64? {
    guard let comma = text.firstIndex(of: ",") else { return nil }
    var scanner = Scanner(Array(text[text.index(after: comma)...].utf8))
    guard scanner.take(" "), let day = scanner.number(2), scanner.take(" "),
      let month = scanner.month(), scanner.take(" "), let year = scanner.number(4),
      scanner.take(" "), let hour = scanner.number(2), scanner.take(":"),
      let minute = scanner.number(2), scanner.take(":"), let second = scanner.number(2),
      scanner.take(" "), scanner.take("G"), scanner.take("M"), scanner.take("T"), scanner.isAtEnd
    else { return nil }
    return seconds(year, month, day, hour, minute, second)
  }

  private static func seconds(
    _ year: Int, _ month: Int, _ day: Int, _ hour: Int, _ minute: Int, _ second: Int
  ) -> Int64? {
    guard (1...12).contains(month), (1...31).contains(day), hour < 24, minute < 60, second < 61
    else { return nil }
    // Days since 1970 of the proleptic Gregorian calendar, years counted from March (Howard Hinnant's
    // "days from civil"): timegm takes a lock, and a listing has a million of these.
    let shifted = month > 2 ? year : year - 1
    let era = (shifted >= 0 ? shifted : shifted - 399) / 400
    let yearOfEra = shifted - era * 400
    let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
    let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
    let days = era * 146_097 + dayOfEra - 719_468
    return Int64(days * 86_400 + hour * 3600 + minute * 60 + second)
  }

  private struct Scanner {
    private var rest: ArraySlice<UInt8>
    init(_ bytes: [UInt8]) { rest = bytes[...] }

    var isAtEnd: Bool { rest.isEmpty }

    mutating func number(_ digits: Int) -> Int? {
      let field = rest.prefix(digits)
      guard field.count == digits, field.allSatisfy({ (0x30...0x39).contains($0) }) else {
        return nil
      }
      rest = rest.dropFirst(digits)
      return field.reduce(0) { $0 * 10 + Int($1 - 0x30) }
    }

    mutating func take(_ character: Unicode.Scalar) -> Bool {
      guard rest.first == UInt8(ascii: character) else { return false }
      rest = rest.dropFirst()
      return true
    }

    mutating func skipDigits() { rest = rest.drop { (0x30...0x39).contains($0) } }

    mutating func month() -> Int? {
      let names = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
      ]
      guard let index = names.firstIndex(where: { rest.starts(with: $0.utf8) }) else { return nil }
      rest = rest.dropFirst(3)
      return index + 1
    }
  }
}
