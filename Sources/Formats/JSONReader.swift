/// Reads JSON one flat object at a time: all that listings and manifests need. Strings stay bytes,
/// because names are; what is nested inside an object is stepped over.
struct JSONReader {
  enum Value: Equatable {
    case string([UInt8])
    /// As it was written.
    case number(String)
    case bool(Bool)
    /// null, or something nested.
    case other

    var bytes: [UInt8]? { if case .string(let bytes) = self { bytes } else { nil } }

    /// A string or a number, as text.
    var text: String? {
      switch self {
      case .string(let bytes): String(decoding: bytes, as: UTF8.self)
      case .number(let text): text
      case .bool, .other: nil
      }
    }
  }

  struct Malformed: Error, Equatable {
    var reason: String
    /// Where in the input, in bytes.
    var offset: Int
  }

  /// Deeper nesting is refused: it would be the reader's stack that ends it.
  static let depthMax = 64

  private let bytes: [UInt8]
  private(set) var position: Int
  private let end: Int

  init(_ bytes: [UInt8], in range: Range<Int>? = nil) {
    self.bytes = bytes
    position = range?.lowerBound ?? 0
    end = range?.upperBound ?? bytes.count
    if bytes[position..<end].starts(with: [0xEF, 0xBB, 0xBF]) { position += 3 }
  }

  /// The array that is the whole document, element by element; each must be an object.
  mutating func readObjects(
    _ body: ([(name: [UInt8], value: Value)]) throws(Malformed) -> Void
  ) throws(Malformed) {
    try expect("[")
    var isFirst = true
    while !accept("]") {
      if !isFirst { try expect(",") }
      isFirst = false
      try body(try readObject())
    }
    try expectEnd()
  }

  mutating func readObject() throws(Malformed) -> [(name: [UInt8], value: Value)] {
    var fields: [(name: [UInt8], value: Value)] = []
    try expect("{")
    while !accept("}") {
      if !fields.isEmpty { try expect(",") }
      let name = try readString()
      try expect(":")
      fields.append((name, try readValue(depth: 0)))
    }
    return fields
  }

  mutating func expectEnd() throws(Malformed) {
    skipSpace()
    if position != end { throw malformed("content after the end") }
  }

  private mutating func readValue(depth: Int) throws(Malformed) -> Value {
    guard depth < Self.depthMax else { throw malformed("nested too deeply") }
    skipSpace()
    guard position < end else { throw malformed("the text is truncated") }
    switch bytes[position] {
    case UInt8(ascii: "\""): return .string(try readString())
    case UInt8(ascii: "{"), UInt8(ascii: "["):
      try skipNested(depth: depth)
      return .other
    case UInt8(ascii: "-"), 48...57: return .number(readNumber())
    default: return try readWord()
    }
  }

  private mutating func skipNested(depth: Int) throws(Malformed) {
    let isObject = bytes[position] == UInt8(ascii: "{")
    position += 1
    var isFirst = true
    while !accept(isObject ? "}" : "]") {
      if !isFirst { try expect(",") }
      isFirst = false
      if isObject {
        _ = try readString()
        try expect(":")
      }
      _ = try readValue(depth: depth + 1)
    }
  }

  private mutating func readNumber() -> String {
    let start = position
    while position < end, "+-.eE0123456789".utf8.contains(bytes[position]) { position += 1 }
    return String(decoding: bytes[start..<position], as: UTF8.self)
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
      case UInt8(ascii: "\""): return out
      case UInt8(ascii: "\\"): try readEscape(into: &out)
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
        scalar = isPair ? 0x10000 + (scalar - 0xD800) << 10 + (low - 0xDC00) : 0xFFFD
      }
      out += Array(String(Character(Unicode.Scalar(scalar) ?? "\u{FFFD}")).utf8)
    default: throw malformed("an unknown escape in a string")
    }
  }

  private mutating func readHex() throws(Malformed) -> UInt32 {
    guard end - position >= 4 else { throw malformed("a string does not end") }
    var value: UInt32 = 0
    for _ in 0..<4 {
      guard let digit = HTTPPercent.hexValue(bytes[position]) else {
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

  private func malformed(_ reason: String) -> Malformed {
    Malformed(reason: reason, offset: position)
  }
}
