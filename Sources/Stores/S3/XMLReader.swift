/// A pull parser for the little XML that object stores answer with, over bytes.
///
/// Not a general parser: no DTD (refused, and with it every entity attack), attributes are skipped,
/// namespace prefixes dropped, bytes that XML forbids are passed on (some stores write keys so).
/// Memory stays in proportion to the input; depth is bounded.
struct XMLReader {
  enum Event: Equatable {
    case start(String)
    case text([UInt8])
    case end(String)
  }

  struct SyntaxError: Error, Equatable {
    var message: String
    /// Byte position.
    var position: Int
  }

  /// S3's own answers are four deep.
  static let depthLimit = 32
  private static let nameLimit = 256

  private let bytes: [UInt8]
  private var position = 0
  private var open: [String] = []
  private var pendingEnd: String?
  private var sawRoot = false

  init(_ bytes: [UInt8]) {
    self.bytes = bytes
    if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { position = 3 }
  }

  /// Elements that are open: 1 inside the root.
  var depth: Int { open.count }

  /// The next event; `nil` after the end of the root.
  mutating func next() throws(SyntaxError) -> Event? {
    if let name = pendingEnd {
      pendingEnd = nil
      open.removeLast()
      return .end(name)
    }
    while position < bytes.count {
      if bytes[position] != UInt8(ascii: "<") {
        let text = try text()
        if !open.isEmpty { return .text(text) }
        guard text.allSatisfy(Self.isSpace) else { throw failure("text outside of the root") }
        continue
      }
      if starts("<?") {
        try skip(past: "?>")
      } else if starts("<!--") {
        position += 4
        try skip(past: "-->")
      } else if starts("<![CDATA[") {
        guard !open.isEmpty else { throw failure("text outside of the root") }
        position += 9
        let start = position
        try skip(past: "]]>")
        return .text(Array(bytes[start..<position - 3]))
      } else if starts("<!") {
        throw failure("a document type is not accepted")
      } else if starts("</") {
        return try endTag()
      } else {
        return try startTag()
      }
    }
    guard open.isEmpty, sawRoot else { throw failure("the document ends too early") }
    return nil
  }

  /// All text up to the end of the element that was just started; elements inside are skipped.
  mutating func content() throws(SyntaxError) -> [UInt8] {
    let level = depth
    var collected: [UInt8] = []
    while let event = try next() {
      switch event {
      case .text(let text) where depth == level: collected += text
      case .end where depth < level: return collected
      default: break
      }
    }
    return collected
  }

  private mutating func startTag() throws(SyntaxError) -> Event {
    guard !(open.isEmpty && sawRoot) else { throw failure("more than one root") }
    guard open.count < Self.depthLimit else { throw failure("nested too deeply") }
    position += 1
    let name = try name()
    // Attributes are of no interest, but a ">" in their quotes does not end the tag.
    var quote: UInt8?
    while position < bytes.count {
      let byte = bytes[position]
      position += 1
      if let current = quote {
        if byte == current { quote = nil }
      } else if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "'") {
        quote = byte
      } else if byte == UInt8(ascii: "<") {
        throw failure("'<' inside a tag")
      } else if byte == UInt8(ascii: ">") {
        open.append(name)
        sawRoot = true
        if bytes[position - 2] == UInt8(ascii: "/") { pendingEnd = name }
        return .start(name)
      }
    }
    throw failure("the document ends inside a tag")
  }

  private mutating func endTag() throws(SyntaxError) -> Event {
    position += 2
    let name = try name()
    while position < bytes.count, Self.isSpace(bytes[position]) { position += 1 }
    guard position < bytes.count, bytes[position] == UInt8(ascii: ">") else {
      throw failure("an end tag is not closed")
    }
    position += 1
    guard open.last == name else { throw failure("</\(name)> closes nothing that is open") }
    open.removeLast()
    return .end(name)
  }

  /// A name without its namespace prefix.
  private mutating func name() throws(SyntaxError) -> String {
    var start = position
    let first = position
    while position < bytes.count, !Self.isSpace(bytes[position]),
      bytes[position] != UInt8(ascii: ">"),
      bytes[position] != UInt8(ascii: "/"), bytes[position] != UInt8(ascii: "<")
    {
      if bytes[position] == UInt8(ascii: ":") { start = position + 1 }
      position += 1
      if position - first > Self.nameLimit { throw failure("a name is too long") }
    }
    guard position > start else { throw failure("a tag has no name") }
    return String(decoding: bytes[start..<position], as: UTF8.self)
  }

  private mutating func text() throws(SyntaxError) -> [UInt8] {
    var text: [UInt8] = []
    while position < bytes.count, bytes[position] != UInt8(ascii: "<") {
      if bytes[position] == UInt8(ascii: "&") {
        text += try entity()
        continue
      }
      let start = position
      while position < bytes.count, bytes[position] != UInt8(ascii: "<"),
        bytes[position] != UInt8(ascii: "&")
      { position += 1 }
      text += bytes[start..<position]
    }
    return text
  }

  private mutating func entity() throws(SyntaxError) -> [UInt8] {
    // The longest that is known, "&#x10FFFF;", and leading zeros some writers put.
    let window = bytes[position..<min(bytes.count, position + 16)]
    guard let end = window.firstIndex(of: UInt8(ascii: ";")) else {
      throw failure("'&' that begins no entity")
    }
    let name = String(decoding: bytes[position + 1..<end], as: UTF8.self)
    let scalar: Unicode.Scalar?
    switch name {
    case "amp": scalar = "&"
    case "lt": scalar = "<"
    case "gt": scalar = ">"
    case "quot": scalar = "\""
    case "apos": scalar = "'"
    default:
      if name.hasPrefix("#x") || name.hasPrefix("#X") {
        scalar = UInt32(name.dropFirst(2), radix: 16).flatMap(Unicode.Scalar.init)
      } else if name.hasPrefix("#") {
        scalar = UInt32(name.dropFirst()).flatMap(Unicode.Scalar.init)
      } else {
        scalar = nil
      }
    }
    guard let scalar else { throw failure("an unknown entity") }
    position = end + 1
    return Array(String(Character(scalar)).utf8)
  }

  private func starts(_ text: StaticString) -> Bool {
    guard bytes.count - position >= text.utf8CodeUnitCount else { return false }
    for index in 0..<text.utf8CodeUnitCount
    where bytes[position + index] != text.utf8Start[index] { return false }
    return true
  }

  private mutating func skip(past text: StaticString) throws(SyntaxError) {
    while position < bytes.count {
      if starts(text) {
        position += text.utf8CodeUnitCount
        return
      }
      position += 1
    }
    throw failure("the document ends too early")
  }

  private func failure(_ message: String) -> SyntaxError {
    SyntaxError(message: message, position: position)
  }

  static func isSpace(_ byte: UInt8) -> Bool {
    byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09
  }
}
