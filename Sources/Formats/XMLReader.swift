// By hand: FoundationXML brings libxml2, which resolves entities and document types and makes objects of what it
// reads.

import Glibc

/// A pull parser for the little XML that object stores answer with, over bytes.
///
/// Not a general parser: no DTD (refused, and with it every entity attack), attributes are skipped,
/// namespace prefixes dropped, bytes that XML forbids are passed on (some stores write keys so).
/// Memory stays in proportion to the input; depth is bounded. Nothing is allocated for an event: a
/// listing of a million keys is six million of them.
public struct XMLReader {
  /// What comes next.
  public enum Event {
    case start(Name)
    case text(Text)
    case end
  }

  /// An element's name, without its namespace prefix: where it stands in the input.
  public struct Name {
    @usableFromInline var start: Int
    @usableFromInline var end: Int
  }

  /// Text between tags: where it stands, and whether entities are to be resolved in it.
  public struct Text {
    var start: Int
    var end: Int
    var hasEntities: Bool
  }

  /// Why reading ended.
  public struct SyntaxError: Error, Equatable {
    public var message: String
    /// Byte position.
    public var position: Int

    public init(message: String, position: Int) {
      self.message = message
      self.position = position
    }
  }

  /// S3's own answers are four deep.
  public static let depthLimit = 32
  private static let nameLimit = 256

  @usableFromInline let bytes: UnsafeRawBufferPointer
  var position = 0
  private var open = InlineArray<32, Name>(repeating: Name(start: 0, end: 0))
  /// Elements that are open: 1 inside the root.
  public private(set) var depth = 0
  private var endIsPending = false
  private var sawRoot = false

  /// `bytes` must outlive the reader.
  public init(_ bytes: UnsafeRawBufferPointer) {
    self.bytes = bytes
    if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { position = 3 }
  }

  /// The next event; `nil` after the end of the root.
  public mutating func next() throws(SyntaxError) -> Event? {
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

  // Most names differ in their length: that is compared in place. Nothing is called with the reader, whose stack of
  // names would be copied.
  @inlinable
  public func isNamed(_ text: StaticString, _ name: Name) -> Bool {
    name.end - name.start == text.utf8CodeUnitCount && Self.stands(text, at: name.start, of: bytes)
  }

  /// All of `text` is within the input.
  @usableFromInline
  static func stands(
    _ text: StaticString, at start: Int, of bytes: UnsafeRawBufferPointer
  ) -> Bool {
    memcmp(bytes.baseAddress! + start, text.utf8Start, text.utf8CodeUnitCount) == 0
  }

  func string(_ name: Name) -> String {
    String(decoding: bytes[name.start..<name.end], as: UTF8.self)
  }

  private func isSame(_ one: Name, _ other: Name) -> Bool {
    let length = one.end - one.start
    return length == other.end - other.start
      && memcmp(bytes.baseAddress! + one.start, bytes.baseAddress! + other.start, length) == 0
  }

  /// All text up to the end of the element that was just started, behind what `collected` has;
  /// elements inside are skipped.
  public mutating func content(into collected: inout [UInt8]) throws(SyntaxError) {
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
  public mutating func plainContent() throws(SyntaxError) -> UnsafeRawBufferPointer? {
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

  /// The same, on its own.
  public mutating func content() throws(SyntaxError) -> [UInt8] {
    var collected: [UInt8] = []
    try content(into: &collected)
    return collected
  }

  /// The same as text.
  public mutating func string() throws(SyntaxError) -> String {
    String(decoding: try content(), as: UTF8.self)
  }

  /// The next element inside of the one that was open at `level`, `depth` behind its start; nil: it has ended, and
  /// where it was the root, nothing follows it.
  public mutating func element(in level: Int) throws(SyntaxError) -> Name? {
    while let event = try next() {
      switch event {
      case .start(let name): return name
      case .end where 0 < depth && depth < level: return nil
      default: break
      }
    }
    return nil
  }

  /// To the end of the element that was just started.
  public mutating func skipContent() throws(SyntaxError) {
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

  func starts(_ text: StaticString) -> Bool {
    bytes.count - position >= text.utf8CodeUnitCount
      && Self.stands(text, at: position, of: bytes)
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

  func failure(_ message: String) -> SyntaxError {
    SyntaxError(message: message, position: position)
  }

  private static func isLetter(_ byte: UInt8) -> Bool {
    (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
      || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
  }

  private static func isSpace(_ byte: UInt8) -> Bool {
    byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09
  }
}
