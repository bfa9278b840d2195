/// Durations and modes as the user writes them.
enum TimeText {
  /// "forever" in a form that still adds to a clock: ten years.
  static let forever = Duration.seconds(10 * 365 * 86_400)

  /// "500ms", "60s", "5m", "2h", "1d", a plain number of seconds, "forever". Ten years at most.
  static func parse(_ text: String) -> Duration? {
    if text == "forever" { return forever }
    let digits = text.prefix { $0.isASCII && $0.isNumber }
    guard let count = Int64(digits), let unit = units[String(text.dropFirst(digits.count))],
      count <= 10 * 365 * 86_400_000 / unit
    else { return nil }
    return .milliseconds(count * unit)
  }

  private static let units: [String: Int64] = [
    "ms": 1, "": 1000, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000,
  ]
}

enum OctalMode {
  /// Permission bits, "0644" or "644".
  static func parse(_ text: String) -> UInt32? {
    guard !text.isEmpty,
      text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "7")).contains($0) })
    else { return nil }
    guard let mode = UInt32(text, radix: 8), mode <= 0o777 else { return nil }
    return mode
  }
}
