import Formats
import Glibc
import ObjectStore

/// All that the commands write to standard output and standard error. Names of stores, files and processes are
/// strangers' text: each line is made `printable` here, and nothing else in this program writes to a terminal
/// (.ci/tidy holds that).
enum Output {
  /// One line on standard output, whatever is in `text`.
  static func line(_ text: String) { print(printable(text)) }

  /// The same, with its first `count` characters, which are this program's own, in a colour.
  static func line(_ text: String, start count: Int, _ colour: Colour) {
    let text = printable(text)
    print(colour.around(String(text.prefix(count))) + text.dropFirst(count))
  }

  static func lines(_ lines: [String]) {
    print(lines.map { printable($0) }.joined(separator: "\n"))
  }

  /// For a reader that waits while this program goes on; its end does the same.
  static func flush() { fflush(nil) }

  /// JSON as the daemon made it. What could steer a terminal is written as JSON's own escape, which no reader of
  /// JSON can tell from the character.
  static func json(_ bytes: [UInt8]) {
    print(safeJSON(String(decoding: bytes, as: UTF8.self)))
  }

  static func safeJSON(_ text: String) -> String {
    func isSafe(_ scalar: Unicode.Scalar) -> Bool {
      scalar == "\n" || scalar.isASCII && (0x20..<0x7F).contains(scalar.value)
        || printable(String(scalar)).unicodeScalars.count == 1
    }
    guard !text.unicodeScalars.allSatisfy(isSafe) else { return text }
    var shown = ""
    for scalar in text.unicodeScalars {
      if isSafe(scalar) {
        shown.unicodeScalars.append(scalar)
      } else {
        shown += "\\u" + Hex.encode(UInt16(scalar.value))
      }
    }
    return shown
  }

  /// One line on standard error: what could not be done.
  static func complain(_ text: String) {
    flush()
    write("millrace: \(printable(SecretMask.masked(oneLine(text))))\n", to: STDERR_FILENO)
  }

  /// Control sequences of this program's own round text that is printable already.
  static func screen(_ text: String, to descriptor: CInt = STDOUT_FILENO) {
    flush()
    write(text, to: descriptor)
  }

  private static func write(_ text: String, to descriptor: CInt) {
    _ = Glibc.write(descriptor, text, text.utf8.count)
  }
}
