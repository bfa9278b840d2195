import Glibc

/// Colours on a terminal, by the habits of https://no-color.org: none where NO_COLOR is set, the terminal is "dumb" or
/// the output is none.
enum Colour: String {
  case plain = ""
  case bold = "\u{1B}[1m"
  case red = "\u{1B}[31m"
  case yellow = "\u{1B}[33m"
  case green = "\u{1B}[32m"

  static func isUsed(
    _ environment: [String: String], isTerminal: Bool = isatty(STDOUT_FILENO) != 0
  ) -> Bool {
    isTerminal && environment["NO_COLOR", default: ""].isEmpty && environment["TERM"] != "dumb"
  }

  /// `text`, which is printable already, in this colour.
  func around(_ text: String) -> String { self == .plain ? text : rawValue + text + "\u{1B}[0m" }
}
