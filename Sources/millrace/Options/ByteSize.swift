/// A size as the user writes it: bytes, or a share of something that is known later.
enum ByteSize: Equatable {
  case bytes(UInt64)
  case percent(UInt64)

  /// K, M, G, T and KiB to TiB are powers of 1024; kB to TB of 1000; a fraction is fine ("1.5G").
  init?(_ text: String) {
    if text.utf8.last == UInt8(ascii: "%") {
      guard let share = UInt64(text.dropLast()), (1...100).contains(share) else { return nil }
      self = .percent(share)
      return
    }
    let number = text.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
    guard let unit = ByteSize.units[text.dropFirst(number.count).lowercased()] else { return nil }
    let parts = number.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count <= 2, let whole = UInt64(parts[0]) else { return nil }
    let (scaled, overflow) = whole.multipliedReportingOverflow(by: unit)
    guard !overflow, scaled <= UInt64(Int64.max) else { return nil }
    guard parts.count == 2 else {
      self = .bytes(scaled)
      return
    }
    guard unit > 1, !parts[1].isEmpty, parts[1].count <= 9, let fraction = Double("0.\(parts[1])")
    else { return nil }
    self = .bytes(scaled + UInt64(fraction * Double(unit)))
  }

  private static let units: [String: UInt64] = [
    "": 1, "b": 1, "k": 1 << 10, "kib": 1 << 10, "kb": 1000, "m": 1 << 20, "mib": 1 << 20,
    "mb": 1_000_000, "g": 1 << 30, "gib": 1 << 30, "gb": 1_000_000_000, "t": 1 << 40,
    "tib": 1 << 40, "tb": 1_000_000_000_000,
  ]

  func resolved(of whole: UInt64) -> UInt64 {
    switch self {
    case .bytes(let bytes): bytes
    case .percent(let share): whole / 100 * share
    }
  }

  /// "120 GiB", "1.5 GiB", "17 B": three digits at most, or one behind the point.
  static func show(_ bytes: UInt64) -> String {
    let names = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]
    var value = Double(bytes)
    var unit = 0
    while value >= 1024, unit < names.count - 1 {
      value /= 1024
      unit += 1
    }
    let tenths = UInt64((value * 10).rounded())
    let number =
      tenths % 10 == 0 || value >= 100
      ? "\(UInt64(value.rounded()))" : "\(tenths / 10).\(tenths % 10)"
    return "\(number) \(names[unit])"
  }
}
