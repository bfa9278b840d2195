/// A small JSON document as the key services send them: read whole, strictly, bounded in depth.
/// (The readers of listings stream; these documents have a dozen members.)
enum JSONValue: Equatable {
  case null
  case bool(Bool)
  /// As written: times come as whole milliseconds, which a Double would keep, and nothing else is used.
  case number(String)
  case text(String)
  case array([JSONValue])
  case object([String: JSONValue])

  struct Malformed: Error, Equatable { var offset: Int }

  private static let depthLimit = 16

  init(_ bytes: [UInt8]) throws(Malformed) {
    var parser = Parser(bytes: bytes)
    self = try parser.value(depth: 0)
    parser.skipSpace()
    guard parser.offset == bytes.count else { throw Malformed(offset: parser.offset) }
  }

  /// A member of an object.
  subscript(name: String) -> JSONValue? {
    if case .object(let members) = self { return members[name] }
    return nil
  }

  /// Of a member that is a text and not empty.
  func text(_ name: String) -> String? {
    if case .text(let text)? = self[name], !text.isEmpty { return text }
    return nil
  }

  func integer(_ name: String) -> Int64? {
    if case .number(let digits)? = self[name] { return Int64(digits) }
    return nil
  }

  /// Written out again, members in the order of their names.
  var json: String {
    switch self {
    case .null: "null"
    case .bool(let value): value ? "true" : "false"
    case .number(let digits): digits
    case .text(let text): Self.quoted(text)
    case .array(let items): "[\(items.map(\.json).joined(separator: ", "))]"
    case .object(let members):
      "{"
        + members.sorted { $0.key < $1.key }.map { "\(Self.quoted($0.key)): \($0.value.json)" }
        .joined(separator: ", ") + "}"
    }
  }

  private static func quoted(_ text: String) -> String {
    var quoted = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": quoted += "\\\""
      case "\\": quoted += "\\\\"
      case "\u{0}"..."\u{1F}":
        let digits = String(scalar.value, radix: 16)
        quoted += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: quoted.unicodeScalars.append(scalar)
      }
    }
    return quoted + "\""
  }

  private struct Parser {
    let bytes: [UInt8]
    var offset = 0

    init(bytes: [UInt8]) { self.bytes = bytes }

    var next: UInt8? { offset < bytes.count ? bytes[offset] : nil }
    var malformed: Malformed { Malformed(offset: offset) }

    mutating func skipSpace() {
      while let byte = next, byte == 32 || (9...10).contains(byte) || byte == 13 { offset += 1 }
    }

    mutating func expect(_ text: String) throws(Malformed) {
      for byte in text.utf8 {
        guard next == byte else { throw malformed }
        offset += 1
      }
    }

    mutating func value(depth: Int) throws(Malformed) -> JSONValue {
      guard depth < depthLimit else { throw malformed }
      skipSpace()
      switch next {
      case UInt8(ascii: "{"): return try object(depth)
      case UInt8(ascii: "["): return try array(depth)
      case UInt8(ascii: "\""): return .text(try string())
      case UInt8(ascii: "t"):
        try expect("true")
        return .bool(true)
      case UInt8(ascii: "f"):
        try expect("false")
        return .bool(false)
      case UInt8(ascii: "n"):
        try expect("null")
        return .null
      default: return .number(try number())
      }
    }

    mutating func object(_ depth: Int) throws(Malformed) -> JSONValue {
      offset += 1
      var members: [String: JSONValue] = [:]
      skipSpace()
      if next == UInt8(ascii: "}") {
        offset += 1
        return .object(members)
      }
      while true {
        skipSpace()
        let name = try string()
        skipSpace()
        try expect(":")
        members[name] = try value(depth: depth + 1)
        skipSpace()
        if next == UInt8(ascii: ",") {
          offset += 1
          continue
        }
        try expect("}")
        return .object(members)
      }
    }

    mutating func array(_ depth: Int) throws(Malformed) -> JSONValue {
      offset += 1
      var items: [JSONValue] = []
      skipSpace()
      if next == UInt8(ascii: "]") {
        offset += 1
        return .array(items)
      }
      while true {
        items.append(try value(depth: depth + 1))
        skipSpace()
        if next == UInt8(ascii: ",") {
          offset += 1
          continue
        }
        try expect("]")
        return .array(items)
      }
    }

    mutating func number() throws(Malformed) -> String {
      let start = offset
      while let byte = next, (0x30...0x39).contains(byte) || "+-.eE".utf8.contains(byte) {
        offset += 1
      }
      let digits = String(decoding: bytes[start..<offset], as: UTF8.self)
      guard Double(digits) != nil else { throw malformed }
      return digits
    }

    mutating func string() throws(Malformed) -> String {
      try expect("\"")
      var text: [UInt8] = []
      while let byte = next {
        offset += 1
        switch byte {
        case UInt8(ascii: "\""):
          guard let string = String(validating: text, as: UTF8.self) else { throw malformed }
          return string
        case 0..<0x20: throw malformed
        case UInt8(ascii: "\\"): try escape(into: &text)
        default: text.append(byte)
        }
      }
      throw malformed
    }

    mutating func escape(into text: inout [UInt8]) throws(Malformed) {
      guard let byte = next else { throw malformed }
      offset += 1
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
      case UInt8(ascii: "b"): text.append(8)
      case UInt8(ascii: "f"): text.append(12)
      case UInt8(ascii: "n"): text.append(10)
      case UInt8(ascii: "r"): text.append(13)
      case UInt8(ascii: "t"): text.append(9)
      case UInt8(ascii: "u"):
        var code = try hexadecimal()
        if (0xD800..<0xDC00).contains(code) {
          try expect("\\u")
          let low = try hexadecimal()
          guard (0xDC00..<0xE000).contains(low) else { throw malformed }
          code = 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00)
        }
        guard let scalar = Unicode.Scalar(code) else { throw malformed }
        text += Array(String(Character(scalar)).utf8)
      default: throw malformed
      }
    }

    mutating func hexadecimal() throws(Malformed) -> UInt32 {
      guard offset + 4 <= bytes.count,
        let code = UInt32(String(decoding: bytes[offset..<offset + 4], as: UTF8.self), radix: 16)
      else { throw malformed }
      offset += 4
      return code
    }
  }
}
