/// An AWS config or credentials file, read as botocore reads it (Python's RawConfigParser with one level
/// of nesting), except that a section or name that comes twice is merged instead of refused, as the
/// other SDKs do.
struct ProfileFile: Equatable {
  enum Value: Equatable {
    case text(String)
    /// `s3 =` followed by indented `name = value` lines.
    case nested([String: String])
  }

  typealias Section = [String: Value]

  /// Section names as they stand between the brackets.
  private(set) var sections: [String: Section] = [:]

  struct SyntaxError: Error, Equatable {
    /// Counted from 1.
    var line: Int
    var message: String
  }

  private struct Pending {
    var name: String
    var lines: [String]
  }

  init() {}

  init(_ text: String) throws(SyntaxError) {
    var section: String?
    var pending: Pending?
    var indent = 0
    var number = 0
    // Byte order marks are what Windows editors leave at the head of a file.
    let body =
      text.unicodeScalars.first == "\u{FEFF}"
      ? text.unicodeScalars.dropFirst() : text.unicodeScalars[...]
    for raw in body.split(omittingEmptySubsequences: false, whereSeparator: { $0 == "\n" }) {
      number += 1
      let trimmed = Self.trim(raw)
      if trimmed.isEmpty { continue }
      if trimmed.first == "#" || trimmed.first == ";" { continue }
      let depth = raw.prefix { Self.isSpace($0) }.count
      if pending != nil, depth > indent {
        pending?.lines.append(String(trimmed))
        continue
      }
      try store(&pending, in: section, line: number)
      indent = depth
      if trimmed.first == "[" {
        guard let close = trimmed.lastIndex(of: "]"),
          close > trimmed.index(after: trimmed.startIndex)
        else { throw SyntaxError(line: number, message: "a section needs the form [NAME]") }
        let name = String(trimmed[trimmed.index(after: trimmed.startIndex)..<close])
        section = name
        sections[name, default: [:]].merge([:]) { old, _ in old }
        continue
      }
      guard section != nil else {
        throw SyntaxError(line: number, message: "a setting stands before the first [section]")
      }
      guard let (name, value) = Self.setting(trimmed) else {
        throw SyntaxError(line: number, message: "expected NAME = VALUE")
      }
      pending = Pending(name: name, lines: [value])
    }
    try store(&pending, in: section, line: number)
  }

  /// Values of `name` in the profile of a config file, where profiles but `default` stand in
  /// `[profile NAME]`.
  func profile(_ name: String) -> Section? {
    named("profile", name) ?? (name == "default" ? sections["default"] : nil)
  }

  /// `[KIND NAME]`, where NAME may be quoted.
  func named(_ kind: String, _ name: String) -> Section? {
    for (header, section) in sections where header.hasPrefix(kind) {
      let words = Self.words(header)
      if words?.count == 2, words?[0] == kind, words?[1] == name { return section }
    }
    return nil
  }

  /// Every profile's name in a config file.
  var profileNames: [String] {
    sections.keys.compactMap { header in
      if header == "default" { return header }
      guard let words = Self.words(header), words.count == 2, words[0] == "profile" else {
        return nil
      }
      return words[1]
    }
  }

  private mutating func store(
    _ pending: inout Pending?, in section: String?, line: Int
  ) throws(SyntaxError) {
    guard let setting = pending, let section else { return }
    pending = nil
    guard setting.lines[0].isEmpty, setting.lines.count > 1 else {
      sections[section]?[setting.name] = .text(setting.lines.joined(separator: "\n"))
      return
    }
    var nested: [String: String] = [:]
    for text in setting.lines.dropFirst() {
      guard let equals = text.firstIndex(of: "=") else {
        throw SyntaxError(line: line, message: "expected NAME = VALUE under \(setting.name)")
      }
      nested[String(Self.trim(text[..<equals].unicodeScalars[...]))] =
        String(Self.trim(text[text.index(after: equals)...].unicodeScalars[...]))
    }
    sections[section]?[setting.name] = .nested(nested)
  }

  private static func isSpace(_ scalar: Unicode.Scalar) -> Bool {
    scalar == " " || scalar == "\t" || scalar == "\r" || scalar == "\u{0B}" || scalar == "\u{0C}"
  }

  private static func trim(
    _ text: Substring.UnicodeScalarView
  ) -> Substring.UnicodeScalarView {
    var text = text.drop { isSpace($0) }
    while let last = text.last, isSpace(last) { text.removeLast() }
    return text
  }

  /// "Name = value" or "name: value"; names are lower-cased, as RawConfigParser does.
  private static func setting(_ line: Substring.UnicodeScalarView) -> (String, String)? {
    guard let mark = line.firstIndex(where: { $0 == "=" || $0 == ":" }) else { return nil }
    let name = trim(line[..<mark])
    if name.isEmpty { return nil }
    return (String(name).lowercased(), String(trim(line[line.index(after: mark)...])))
  }

  /// Words as a shell splits them: quotes group, a backslash takes the next character as it is.
  static func words(_ text: String) -> [String]? {
    var words: [String] = []
    var word: String?
    var quote: Character?
    var rest = Substring(text)
    while let next = rest.popFirst() {
      if next == quote {
        quote = nil
      } else if next == "\\", quote != "'" {
        guard let taken = rest.popFirst() else { return nil }
        if quote == "\"", taken != "\"", taken != "\\" { word = (word ?? "") + "\\" }
        word = (word ?? "") + String(taken)
      } else if quote != nil {
        word = (word ?? "") + String(next)
      } else if next == "\"" || next == "'" {
        quote = next
        word = word ?? ""
      } else if next == " " || next == "\t" {
        if let done = word { words.append(done) }
        word = nil
      } else {
        word = (word ?? "") + String(next)
      }
    }
    if quote != nil { return nil }
    if let done = word { words.append(done) }
    return words
  }
}

extension ProfileFile.Section {
  func text(_ name: String) -> String? {
    if case .text(let value) = self[name], !value.isEmpty { return value }
    return nil
  }

  func nested(_ name: String) -> [String: String]? {
    if case .nested(let values) = self[name] { return values }
    return nil
  }
}
