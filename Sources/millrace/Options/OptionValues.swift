import Formats
import Glibc

/// Option or environment variable, read as what it should be. A wrong value is a usage error that
/// names where it came from.
struct OptionValues {
  var environment: [String: String]

  static func variable(_ name: String) -> String {
    "MILLRACE_" + name.uppercased().map { $0 == "-" ? "_" : String($0) }.joined()
  }

  /// The empty text in the environment counts as absent.
  func text(_ name: String, _ option: String?) -> String? {
    if let option { return option }
    return environment[OptionValues.variable(name)].flatMap { $0.isEmpty ? nil : $0 }
  }

  func flag(_ name: String, _ option: Bool) throws(Failure) -> Bool {
    if option { return true }
    guard let value = text(name, nil) else { return false }
    switch value.lowercased() {
    case "1", "true", "yes", "on": return true
    case "0", "false", "no", "off": return false
    default: throw wrong(name, nil, value, "true or false")
    }
  }

  /// nil: the environment does not say.
  func optionalFlag(_ name: String) throws(Failure) -> Bool? {
    text(name, nil) == nil ? nil : try flag(name, false)
  }

  func size(_ name: String, _ option: String?) throws(Failure) -> ByteSize? {
    try read(name, option, "a size such as 512M, 10GiB or 80%") { ByteSize($0) }
  }

  func duration(_ name: String, _ option: String?) throws(Failure) -> Duration? {
    try read(name, option, "a time such as 60s, 5m, 0 or forever") { TimeText.parse($0) }
  }

  func mode(_ name: String, _ option: String?) throws(Failure) -> UInt32? {
    try read(name, option, "an octal mode such as 0644") { OctalMode.parse($0) }
  }

  func number(_ name: String, _ option: String?, _ range: ClosedRange<UInt32>) throws(Failure)
    -> UInt32?
  {
    try read(name, option, "a number from \(range.lowerBound) to \(range.upperBound)") {
      UInt32($0).flatMap { range.contains($0) ? $0 : nil }
    }
  }

  /// "16" or "16x".
  func multiple(_ name: String, _ option: String?, _ range: ClosedRange<UInt32>) throws(Failure)
    -> Double?
  {
    try read(name, option, "a multiple from \(range.lowerBound)x to \(range.upperBound)x") { text in
      let number = text.hasSuffix("x") ? text.dropLast() : text[...]
      return UInt32(number).flatMap { range.contains($0) ? Double($0) : nil }
    }
  }

  func url(_ name: String, _ option: String?) throws(Failure) -> String? {
    try read(name, option, "a URL such as https://HOST[:PORT]") { text in
      let lower = text.lowercased()
      guard let scheme = ["http://", "https://"].first(where: { lower.hasPrefix($0) }),
        let first = lower.dropFirst(scheme.count).first, first != "/", !text.contains(" ")
      else { return nil }
      return text
    }
  }

  /// A moment in the past, seconds since 1970: a date, a time of UTC, a number, or how long ago.
  func moment(_ name: String, _ option: String?) throws(Failure) -> Int64? {
    let now = Int64(time(nil))
    return try read(
      name, option, "a moment in the past, such as 2026-11-20, 2026-11-20T10:00:00Z or 3h (ago)"
    ) { text in
      let moment: Int64?
      if text.utf8.count > 9, text.utf8.allSatisfy({ $0 > 47 && $0 < 58 }) {
        moment = Int64(text)
      } else if text.contains("-") {
        moment = UTCTime.zoned(text.utf8.count == 10 ? text + "T00:00:00Z" : text)
      } else {
        moment = TimeText.parse(text).map { now - Int64($0.components.seconds) }
      }
      return moment.flatMap { $0 > 0 && $0 <= now ? $0 : nil }
    }
  }

  /// One of a few words.
  func choice<Value: RawRepresentable & CaseIterable>(
    _ name: String, _ option: Choice<Value>?
  ) throws(Failure) -> Value? where Value.RawValue == String {
    let words = Value.allCases.map(\.rawValue).joined(separator: ", ")
    return try read(name, option?.text, "one of \(words)") { Value(rawValue: $0.lowercased()) }
  }

  /// A file that can be read.
  func file(_ name: String, _ option: String?) throws(Failure) -> String? {
    try read(name, option, "a file that can be read") { access($0, R_OK) == 0 ? realPath($0) : nil }
  }

  private func read<Value>(
    _ name: String, _ option: String?, _ expected: String, _ parse: (String) -> Value?
  ) throws(Failure) -> Value? {
    guard let value = text(name, option) else { return nil }
    guard let result = parse(value) else { throw wrong(name, option, value, expected) }
    return result
  }

  private func wrong(_ name: String, _ option: String?, _ value: String, _ expected: String)
    -> Failure
  {
    let place = option == nil ? OptionValues.variable(name) : "--\(name)"
    return .usage("\(place) '\(value)': expected \(expected)")
  }
}
