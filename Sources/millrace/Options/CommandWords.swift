import ArgumentParser

/// Wrong command lines that the parser would report as an unexpected argument.
enum CommandWords {
  /// What other programs call it.
  private static let others = [
    "status": "millrace list, or millrace stats MOUNTPOINT", "ls": "millrace list",
    "mounts": "millrace list", "version": "millrace --version", "prefetch": "millrace warm",
    "check": "millrace doctor", "info": "millrace stats MOUNTPOINT", "gc": "millrace evict",
  ]

  static let all: [String] = Millrace.configuration.subcommands.flatMap {
    [$0.configuration.commandName ?? ""] + $0.configuration.aliases
  }

  /// `arguments`: of the program. The first word is a command, or an option of the program itself.
  static func check(_ arguments: [String]) throws(Failure) {
    guard let word = arguments.first, word != "help", !all.contains(word) else { return }
    let options = ["--version", "--help", "--help-hidden"]
    if word.hasPrefix("-") {
      if let option = Suggestion.nearest(to: word, in: options), option != word, word.count > 3 {
        throw .usage("unknown option '\(word)'; did you mean \(option)?")
      }
      return
    }
    if word.contains("://") {
      throw .usage("no command; did you mean millrace mount SOURCE MOUNTPOINT?")
    }
    let meant =
      others[word.lowercased()] ?? Suggestion.nearest(to: word, in: all).map { "millrace \($0)" }
    throw .usage(
      "unknown command '\(word)'; "
        + (meant.map { "did you mean \($0)?" } ?? "see millrace --help"))
  }

  /// The parser's message and where to read on.
  static func advised(_ message: String, _ arguments: [String]) -> String {
    let command = arguments.first.flatMap { all.contains($0) ? "\($0) " : nil } ?? ""
    let line = "\(message) (see millrace \(command)--help)"
    let isStray = message.contains("nexpected argument") || message.contains("Unknown option")
    guard arguments.first == "run", isStray, !arguments.contains("--") else { return line }
    return "\(line); put -- before the command: millrace run SOURCE MOUNTPOINT [options] -- COMMAND"
  }
}
