// By hand: JSONDecoder takes twice the time for a listing, has no strings of bytes (names need not be UTF-8), and reads
// a body of 64 MiB into a tree first.

/// Reads JSON one flat object at a time: all that listings and manifests need. Strings stay bytes, because names are;
/// what is nested inside an object is stepped over. `JSONValue` reads a small document whole with the same rules of
/// tokens, more strictly.
public struct JSONReader {
  /// What a member of an object holds.
  public enum Value: Equatable {
    case string([UInt8])
    /// As it was written.
    case number(String)
    case bool(Bool)
    /// null, or something nested.
    case other

    /// Of a string.
    public var bytes: [UInt8]? { if case .string(let bytes) = self { bytes } else { nil } }

    /// A string or a number, as text.
    public var text: String? {
      switch self {
      case .string(let bytes): String(decoding: bytes, as: UTF8.self)
      case .number(let text): text
      case .bool, .other: nil
      }
    }
  }

  /// Where reading ended, and why.
  public struct Malformed: Error, Equatable {
    public var reason: String
    /// Where in the input, in bytes.
    public var offset: Int
  }

  /// Deeper nesting is refused: it would be the reader's stack that ends it.
  static let depthMax = 64

  private let bytes: [UInt8]
  private(set) var position: Int
  private let end: Int
  /// Strings are UTF-8 without control characters or halves of surrogate pairs, and numbers are numbers: for documents
  /// whose texts become headers. Listings are read as servers write them, one bad name in a million included.
  private let isStrict: Bool

  /// `range`: of the bytes that are read, all by default. A byte order mark is stepped over.
  public init(_ bytes: [UInt8], in range: Range<Int>? = nil) {
    self.init(bytes, range ?? 0..<bytes.count, isStrict: false)
    if bytes[position..<end].starts(with: [0xEF, 0xBB, 0xBF]) { position += 3 }
  }

  init(_ bytes: [UInt8], _ range: Range<Int>, isStrict: Bool) {
    self.bytes = bytes
    position = range.lowerBound
    end = range.upperBound
    self.isStrict = isStrict
  }

  /// The array that is the whole document, element by element; each must be an object.
  public mutating func readObjects(
    _ body: ([(name: [UInt8], value: Value)]) throws(Malformed) -> Void
  ) throws(Malformed) {
    try expect("[")
    var isFirst = true
    while try goesOn(.array, &isFirst) { try body(try readObject()) }
    try expectEnd()
  }

  /// The next object's members, in order, a name as often as it stands there.
  public mutating func readObject() throws(Malformed) -> [(name: [UInt8], value: Value)] {
    var fields: [(name: [UInt8], value: Value)] = []
    try expect("{")
    var isFirst = true
    while try goesOn(.object, &isFirst) {
      fields.append((try readName(), try readValue(depth: 0)))
    }
    return fields
  }

  /// Throws where anything but white space is left.
  public mutating func expectEnd() throws(Malformed) {
    skipSpace()
    if position != end { throw malformed("content after the end") }
  }

  private mutating func readValue(depth: Int) throws(Malformed) -> Value {
    guard depth < Self.depthMax else { throw malformed("nested too deeply") }
    guard let kind = try nesting() else { return try readScalar() }
    var isFirst = true
    while try goesOn(kind, &isFirst) {
      if kind == .object { _ = try readName() }
      _ = try readValue(depth: depth + 1)
    }
    return .other
  }

  // MARK: Tokens

  enum Nesting { case object, array }

  /// Steps into the object or array that comes next; nil: something else does.
  mutating func nesting() throws(Malformed) -> Nesting? {
    skipSpace()
    guard position < end else { throw malformed("the text is truncated") }
    switch bytes[position] {
    case UInt8(ascii: "{"): position += 1
    case UInt8(ascii: "["):
      position += 1
      return .array
    default: return nil
    }
    return .object
  }

  /// Steps to the next member or element. False: past the end of the object or array.
  mutating func goesOn(_ kind: Nesting, _ isFirst: inout Bool) throws(Malformed) -> Bool {
    if accept(kind == .object ? "}" : "]") { return false }
    if !isFirst { try expect(",") }
    isFirst = false
    return true
  }

  /// A member's name and its colon.
  mutating func readName() throws(Malformed) -> [UInt8] {
    let name = try readString()
    try expect(":")
    return name
  }

  /// A string, a number, true, false or null.
  mutating func readScalar() throws(Malformed) -> Value {
    switch bytes[position] {
    case UInt8(ascii: "\""): return .string(try readString())
    case UInt8(ascii: "-"), 48...57: return .number(try readNumber())
    default: return try readWord()
    }
  }

  private mutating func readNumber() throws(Malformed) -> String {
    let start = position
    while position < end, "+-.eE0123456789".utf8.contains(bytes[position]) { position += 1 }
    let digits = String(decoding: bytes[start..<position], as: UTF8.self)
    if isStrict, Double(digits) == nil { throw malformed("not a number") }
    return digits
  }

  private mutating func readWord() throws(Malformed) -> Value {
    for (word, value) in [("true", Value.bool(true)), ("false", .bool(false)), ("null", .other)]
    where bytes[position..<end].starts(with: word.utf8) {
      position += word.utf8.count
      return value
    }
    throw malformed("not a JSON value")
  }

  private mutating func readString() throws(Malformed) -> [UInt8] {
    try expect("\"")
    var out: [UInt8] = []
    while position < end {
      let byte = bytes[position]
      position += 1
      switch byte {
      case UInt8(ascii: "\""):
        if isStrict, String(validating: out, as: UTF8.self) == nil { throw malformed("not UTF-8") }
        return out
      case UInt8(ascii: "\\"): try readEscape(into: &out)
      case 0..<0x20 where isStrict: throw malformed("a control character in a string")
      default: out.append(byte)
      }
    }
    throw malformed("a string does not end")
  }

  private mutating func readEscape(into out: inout [UInt8]) throws(Malformed) {
    guard position < end else { throw malformed("a string does not end") }
    let byte = bytes[position]
    position += 1
    switch byte {
    case UInt8(ascii: "n"): out.append(10)
    case UInt8(ascii: "t"): out.append(9)
    case UInt8(ascii: "r"): out.append(13)
    case UInt8(ascii: "b"): out.append(8)
    case UInt8(ascii: "f"): out.append(12)
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): out.append(byte)
    case UInt8(ascii: "u"):
      var scalar = try readHex()
      if (0xD800..<0xDC00).contains(scalar), bytes[position..<end].starts(with: "\\u".utf8) {
        position += 2
        let low = try readHex()
        let isPair = (0xDC00..<0xE000).contains(low)
        scalar = isPair ? 0x10000 + (scalar - 0xD800) << 10 + (low - 0xDC00) : 0xD800
      }
      let known = Unicode.Scalar(scalar)
      if isStrict, known == nil { throw malformed("half of a surrogate pair") }
      out += Array(String(Character(known ?? "\u{FFFD}")).utf8)
    default: throw malformed("an unknown escape in a string")
    }
  }

  private mutating func readHex() throws(Malformed) -> UInt32 {
    guard end - position >= 4 else { throw malformed("a string does not end") }
    var value: UInt32 = 0
    for _ in 0..<4 {
      guard let digit = Hex.value(bytes[position]) else {
        throw malformed("\\u without four hex digits")
      }
      value = value << 4 | UInt32(digit)
      position += 1
    }
    return value
  }

  private mutating func skipSpace() {
    while position < end, [32, 10, 13, 9].contains(bytes[position]) { position += 1 }
  }

  private mutating func accept(_ character: Unicode.Scalar) -> Bool {
    skipSpace()
    guard position < end, bytes[position] == UInt8(ascii: character) else { return false }
    position += 1
    return true
  }

  private mutating func expect(_ character: Unicode.Scalar) throws(Malformed) {
    if !accept(character) {
      throw malformed(position < end ? "\"\(character)\" is missing" : "the text is truncated")
    }
  }

  func malformed(_ reason: String) -> Malformed {
    Malformed(reason: reason, offset: position)
  }
}
