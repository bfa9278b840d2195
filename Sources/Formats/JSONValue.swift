/// A small JSON document as the services of credentials send them: read whole, strictly, bounded in depth.
/// (The readers of listings stream; these documents have a dozen members. A tree and not Codable: what a file of the
/// AWS tools holds is written back with members that we do not know.)
public enum JSONValue: Equatable {
  case null
  case bool(Bool)
  /// As written: times come as whole milliseconds, which a Double would keep, and nothing else is used.
  case number(String)
  case text(String)
  case array([JSONValue])
  case object([String: JSONValue])

  static let depthLimit = 16

  /// The whole of `bytes`; nested 16 deep at most.
  public init(_ bytes: [UInt8]) throws(JSONReader.Malformed) {
    var reader = JSONReader(bytes, 0..<bytes.count, isStrict: true)
    self = try reader.readDocument(depth: 0)
    try reader.expectEnd()
  }

  /// A member of an object.
  public subscript(name: String) -> JSONValue? {
    if case .object(let members) = self { return members[name] }
    return nil
  }

  /// Of a member that is a text and not empty.
  public func text(_ name: String) -> String? {
    if case .text(let text)? = self[name], !text.isEmpty { return text }
    return nil
  }

  /// Of a member that is a whole number.
  public func integer(_ name: String) -> Int64? {
    if case .number(let digits)? = self[name] { return Int64(digits) }
    return nil
  }

  /// Written out again, members in the order of their names.
  public var json: String {
    switch self {
    case .null: "null"
    case .bool(let value): value ? "true" : "false"
    case .number(let digits): digits
    case .text(let text): String(decoding: Self.quoted(text.utf8), as: UTF8.self)
    case .array(let items): "[\(items.map(\.json).joined(separator: ", "))]"
    case .object(let members):
      "{"
        + members.sorted { $0.key < $1.key }
        .map { "\(JSONValue.text($0.key).json): \($0.value.json)" }.joined(separator: ", ") + "}"
    }
  }

  /// A JSON string. Bytes that are no UTF-8 stay as they are: names are bytes, and `JSONReader` keeps them.
  public static func quoted(_ bytes: some Sequence<UInt8>) -> [UInt8] {
    var text = [UInt8(ascii: "\"")]
    for byte in bytes {
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"): text += [UInt8(ascii: "\\"), byte]
      case 0..<0x20: text += Array("\\u00".utf8) + [Hex.digit(byte >> 4), Hex.digit(byte)]
      default: text.append(byte)
      }
    }
    text.append(UInt8(ascii: "\""))
    return text
  }
}

extension JSONReader {
  fileprivate mutating func readDocument(depth: Int) throws(Malformed) -> JSONValue {
    guard depth < JSONValue.depthLimit else { throw malformed("nested too deeply") }
    var isFirst = true
    switch try nesting() {
    case .object:
      var members: [String: JSONValue] = [:]
      while try goesOn(.object, &isFirst) {
        let name = String(decoding: try readName(), as: UTF8.self)
        members[name] = try readDocument(depth: depth + 1)
      }
      return .object(members)
    case .array:
      var items: [JSONValue] = []
      while try goesOn(.array, &isFirst) { items.append(try readDocument(depth: depth + 1)) }
      return .array(items)
    case nil:
      switch try readScalar() {
      case .string(let bytes): return .text(String(decoding: bytes, as: UTF8.self))
      case .number(let digits): return .number(digits)
      case .bool(let value): return .bool(value)
      case .other: return .null
      }
    }
  }
}
