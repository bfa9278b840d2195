import Glibc

/// A pull parser for the little XML that object stores answer with, over bytes.
///
/// Not a general parser: no DTD (refused, and with it every entity attack), attributes are skipped,
/// namespace prefixes dropped, bytes that XML forbids are passed on (some stores write keys so).
/// Memory stays in proportion to the input; depth is bounded. Nothing is allocated for an event: a
/// listing of a million keys is six million of them.
struct XMLReader {
  enum Event {
    case start(Name)
    case text(Text)
    case end
  }

  /// An element's name, without its namespace prefix: where it stands in the input.
  struct Name {
    fileprivate var start: Int
    fileprivate var end: Int
  }

  /// Text between tags: where it stands, and whether entities are to be resolved in it.
  struct Text {
    fileprivate var start: Int
    fileprivate var end: Int
    fileprivate var hasEntities: Bool
  }

  struct SyntaxError: Error, Equatable {
    var message: String
    /// Byte position.
    var position: Int
  }

  /// S3's own answers are four deep.
  static let depthLimit = 32
  private static let nameLimit = 256

  private let bytes: UnsafeRawBufferPointer
  private var position = 0
  private var open = InlineArray<32, Name>(repeating: Name(start: 0, end: 0))
  /// Elements that are open: 1 inside the root.
  private(set) var depth = 0
  private var endIsPending = false
  private var sawRoot = false

  /// `bytes` must outlive the reader.
  init(_ bytes: UnsafeRawBufferPointer) {
    self.bytes = bytes
    if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { position = 3 }
  }

  /// The next event; `nil` after the end of the root.
  mutating func next() throws(SyntaxError) -> Event? {
    if endIsPending {
      endIsPending = false
      depth -= 1
      return .end
    }
    while position < bytes.count {
      if bytes[position] != UInt8(ascii: "<") {
        let text = try text()
        if depth > 0 { return .text(text) }
        guard bytes[text.start..<text.end].allSatisfy(Self.isSpace) else {
          throw failure("text outside of the root")
        }
        continue
      }
      let following = position + 1 < bytes.count ? bytes[position + 1] : 0
      if following == UInt8(ascii: "/") { return try endTag() }
      if Self.isLetter(following) { return try startTag() }
      if starts("<?") {
        try skip(past: "?>")
      } else if starts("<!--") {
        position += 4
        try skip(past: "-->")
      } else if starts("<![CDATA[") {
        guard depth > 0 else { throw failure("text outside of the root") }
        position += 9
        let start = position
        try skip(past: "]]>")
        return .text(Text(start: start, end: position - 3, hasEntities: false))
      } else if starts("<!") {
        throw failure("a document type is not accepted")
      } else {
        return try startTag()
      }
    }
    guard depth == 0, sawRoot else { throw failure("the document ends too early") }
    return nil
  }

  func isNamed(_ text: StaticString, _ name: Name) -> Bool {
    guard name.end - name.start == text.utf8CodeUnitCount else { return false }
    return memcmp(bytes.baseAddress! + name.start, text.utf8Start, text.utf8CodeUnitCount) == 0
  }

  private func isSame(_ one: Name, _ other: Name) -> Bool {
    let length = one.end - one.start
    return length == other.end - other.start
      && memcmp(bytes.baseAddress! + one.start, bytes.baseAddress! + other.start, length) == 0
  }

  /// All text up to the end of the element that was just started, behind what `collected` has;
  /// elements inside are skipped.
  mutating func content(into collected: inout [UInt8]) throws(SyntaxError) {
    let level = depth
    while let event = try next() {
      switch event {
      case .text(let text) where depth == level: try append(text, to: &collected)
      case .end where depth < level: return
      default: break
      }
    }
  }

  /// The content of the element that was just started, as it stands in the input. Nil, and nothing is
  /// read, if it is more than one text, or has entities: `content` then.
  mutating func plainContent() throws(SyntaxError) -> UnsafeRawBufferPointer? {
    guard !endIsPending, depth > 0, position < bytes.count else { return nil }
    let base = bytes.baseAddress!
    guard let found = memchr(base + position, CInt(UInt8(ascii: "<")), bytes.count - position)
    else {
      return nil
    }
    let start = position
    let end = UnsafeRawPointer(found) - base
    guard end + 1 < bytes.count, bytes[end + 1] == UInt8(ascii: "/"),
      memchr(base + start, CInt(UInt8(ascii: "&")), end - start) == nil
    else { return nil }
    position = end
    _ = try endTag()
    return UnsafeRawBufferPointer(start: base + start, count: end - start)
  }

  mutating func content() throws(SyntaxError) -> [UInt8] {
    var collected: [UInt8] = []
    try content(into: &collected)
    return collected
  }

  mutating func skipContent() throws(SyntaxError) {
    let level = depth
    while let event = try next() {
      if case .end = event, depth < level { return }
    }
  }

  private mutating func startTag() throws(SyntaxError) -> Event {
    guard !(depth == 0 && sawRoot) else { throw failure("more than one root") }
    guard depth < Self.depthLimit else { throw failure("nested too deeply") }
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
        open[depth] = name
        depth += 1
        sawRoot = true
        endIsPending = bytes[position - 2] == UInt8(ascii: "/")
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
    guard depth > 0, isSame(open[depth - 1], name) else {
      throw failure("an end tag closes nothing that is open")
    }
    depth -= 1
    return .end
  }

  private mutating func name() throws(SyntaxError) -> Name {
    var start = position
    let first = position
    while position < bytes.count {
      let byte = bytes[position]
      if Self.isSpace(byte) || byte == UInt8(ascii: ">") || byte == UInt8(ascii: "/")
        || byte == UInt8(ascii: "<")
      {
        break
      }
      if byte == UInt8(ascii: ":") { start = position + 1 }
      position += 1
      if position - first > Self.nameLimit { throw failure("a name is too long") }
    }
    guard position > start else { throw failure("a tag has no name") }
    return Name(start: start, end: position)
  }

  /// Up to the next tag. Entities are checked here, so that an invalid one is refused also in a text
  /// that no caller reads.
  private mutating func text() throws(SyntaxError) -> Text {
    let start = position
    let base = bytes.baseAddress!
    let end =
      memchr(base + start, CInt(UInt8(ascii: "<")), bytes.count - start).map {
        UnsafeRawPointer($0) - base
      } ?? bytes.count
    let hasEntities = memchr(base + start, CInt(UInt8(ascii: "&")), end - start) != nil
    let text = Text(start: start, end: end, hasEntities: hasEntities)
    if hasEntities { try check(text) }
    position = end
    return text
  }

  private mutating func check(_ text: Text) throws(SyntaxError) {
    position = text.start
    while position < text.end,
      let next = memchr(
        bytes.baseAddress! + position, CInt(UInt8(ascii: "&")), text.end - position)
    {
      position = UnsafeRawPointer(next) - bytes.baseAddress!
      _ = try entity()
    }
  }

  private mutating func append(
    _ text: Text, to collected: inout [UInt8]
  ) throws(SyntaxError) {
    guard text.hasEntities else {
      collected.append(
        contentsOf: UnsafeRawBufferPointer(rebasing: bytes[text.start..<text.end]))
      return
    }
    let place = position
    defer { position = place }
    position = text.start
    while position < text.end {
      if bytes[position] == UInt8(ascii: "&") {
        let scalar = try entity()
        if scalar.isASCII {
          collected.append(UInt8(scalar.value))
        } else {
          collected.append(contentsOf: String(Character(scalar)).utf8)
        }
      } else {
        let next = memchr(
          bytes.baseAddress! + position, CInt(UInt8(ascii: "&")), text.end - position)
        let end = next.map { UnsafeRawPointer($0) - bytes.baseAddress! } ?? text.end
        collected.append(contentsOf: UnsafeRawBufferPointer(rebasing: bytes[position..<end]))
        position = end
      }
    }
  }

  private mutating func entity() throws(SyntaxError) -> Unicode.Scalar {
    // What every listing has: quotes around each etag.
    if starts("&quot;") {
      position += 6
      return "\""
    }
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
    return scalar
  }

  private func starts(_ text: StaticString) -> Bool {
    guard bytes.count - position >= text.utf8CodeUnitCount else { return false }
    return memcmp(bytes.baseAddress! + position, text.utf8Start, text.utf8CodeUnitCount) == 0
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

  private static func isLetter(_ byte: UInt8) -> Bool {
    (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
      || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
  }

  static func isSpace(_ byte: UInt8) -> Bool {
    byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09
  }
}
