import Metrics
import Posix

/// Numbers as every command shows them: "1,234", "61 %", "2.1 s", "<32 ms".
enum Figure {
  static func count(_ number: UInt64) -> String { grouped(String(number)) }
  static func count(_ number: Int) -> String { count(UInt64(clamping: number)) }

  /// Of a whole; never more than all of it. Small shares have a decimal: "0.4 %".
  static func percent(_ share: Double) -> String {
    let share = min(max(share, 0), 1) * 100
    let tenths = Int(saturating: (share * 10).rounded())
    return tenths < 100 && tenths % 10 != 0
      ? "\(tenths / 10).\(tenths % 10) %" : "\(Int(saturating: share.rounded())) %"
  }

  /// The same without a decimal, as a column of a narrow table has it: "61%".
  static func cell(_ share: Double) -> String {
    "\(Int(saturating: (min(max(share, 0), 1) * 100).rounded()))%"
  }

  /// A ratio of 0 to 1: "0.55".
  static func ratio(_ value: Double) -> String {
    let hundredths = Int(saturating: (min(max(value, 0), 1) * 100).rounded())
    let digits = "\(hundredths % 100)"
    return "\(hundredths / 100)." + (digits.count == 1 ? "0" : "") + digits
  }

  /// One decimal below 10.
  static func decimal(_ value: Double) -> String {
    value >= 10
      ? grouped("\(Int(saturating: value.rounded()))")
      : "\(Double(Int(saturating: (value * 10).rounded())) / 10)"
  }

  static func rate(_ bytes: UInt64, _ seconds: Double) -> String {
    ByteSize.show(UInt64(saturating: Double(bytes) / max(seconds, 0.001))) + "/s"
  }

  /// At most five characters: "512", "1.6M", "188M", "1.2G".
  static func compact(_ bytes: UInt64) -> String {
    let units = ["", "K", "M", "G", "T", "P", "E"]
    var value = Double(bytes)
    var unit = 0
    while value >= 1000, unit < units.count - 1 {
      value /= 1024
      unit += 1
    }
    let tenths = Int(saturating: (value * 10).rounded())
    return unit > 0 && tenths < 1000
      ? "\(tenths / 10).\(tenths % 10)\(units[unit])"
      : "\(Int(saturating: value.rounded()))\(units[unit])"
  }

  /// "0.3 s", "12 s", "5 min", "3 h 20 min".
  static func duration(_ seconds: Double) -> String {
    seconds < 10 ? "\(decimal(seconds)) s" : uptime(seconds)
  }

  static func uptime(_ seconds: Double) -> String {
    let seconds = Int(saturating: seconds)
    if seconds < 120 { return "\(seconds) s" }
    if seconds < 3600 { return "\(seconds / 60) min" }
    return "\(seconds / 3600) h \(seconds % 3600 / 60) min"
  }

  /// A quantile of latency: less than so long. "<16 us", "<33 ms"; "-" where no read was seen.
  static func latency(_ microseconds: UInt64?) -> String {
    guard let microseconds else { return "-" }
    if microseconds < 1000 { return "<\(microseconds) us" }
    if microseconds < 1_000_000 { return "<\(microseconds / 1000) ms" }
    return "<\(microseconds / 1_000_000) s"
  }

  private static func grouped(_ digits: String) -> String {
    var text = ""
    for (index, digit) in digits.reversed().enumerated() {
      if index > 0 && index % 3 == 0 { text.append(",") }
      text.append(digit)
    }
    return String(text.reversed())
  }
}

extension WaitCause {
  /// As tables and sentences name it.
  var title: String {
    switch self {
    case .listing: "listings"
    case .queue: "queued requests"
    case .limit: "our rate limit"
    case .firstByte: "TTFB"
    case .bandwidth: "bandwidth"
    case .disk: "cache disk"
    }
  }

  /// As a column of `top`.
  var column: String {
    switch self {
    case .listing: "LIST"
    case .queue: "QUEUE"
    case .limit: "LIMIT"
    case .firstByte: "TTFB"
    case .bandwidth: "XFER"
    case .disk: "DISK"
    }
  }
}
