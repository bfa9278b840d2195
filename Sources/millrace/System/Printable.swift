/// Text that a terminal or a log line shows as it is, and that cannot steer either: control characters (C0, DEL, C1),
/// line separators and the marks that turn the direction of writing are shown as `\x1b` or `\u{202e}`, as `ls -b`
/// does. Applied where text leaves the program: see `Output` and `LineLogHandler`. Applied twice it changes nothing
/// more.
func printable(_ text: String) -> String {
  guard text.unicodeScalars.contains(where: steersTerminals) else { return text }
  var shown = ""
  for scalar in text.unicodeScalars {
    if steersTerminals(scalar) {
      shown += escaped(scalar.value)
    } else {
      shown.unicodeScalars.append(scalar)
    }
  }
  return shown
}

/// The same of a name that need not be UTF-8: a byte that is none is shown as `\xff`.
func printable(bytes: some Sequence<UInt8>) -> String {
  let bytes = Array(bytes)
  if let text = String(validating: bytes, as: UTF8.self) { return printable(text) }
  var shown = ""
  var index = 0
  while index < bytes.count {
    // The shortest run that is a character: at most four bytes.
    let character = (1...4).lazy.compactMap { length -> (String, Int)? in
      guard index + length <= bytes.count else { return nil }
      return String(validating: bytes[index..<(index + length)], as: UTF8.self).map { ($0, length) }
    }.first
    shown += character?.0 ?? "\\x" + String(bytes[index], radix: 16)
    index += character?.1 ?? 1
  }
  return printable(shown)
}

private func escaped(_ value: UInt32) -> String {
  let digits = String(value, radix: 16)
  return value < 0x80
    ? "\\x" + (digits.count < 2 ? "0" : "") + digits : "\\u{\(digits)}"
}

/// Escape sequences, ends of lines, and bidirectional controls (UAX #9).
private func steersTerminals(_ scalar: Unicode.Scalar) -> Bool {
  switch scalar.value {
  case 0..<0x20, 0x7F..<0xA0: true
  case 0x61C, 0x200E, 0x200F, 0x2028...0x202E, 0x2066...0x2069: true
  default: false
  }
}
