import ObjectStore

/// A list of files or objects that people and their programs write, as fields with a line number: CSV (RFC 4180 quotes)
/// or JSON objects, one a line. What the fields mean, and which must be there, is decided by the caller.
public enum ManifestLines {
  /// What is wrong with a list, and where.
  public struct Malformed: Error, Equatable {
    /// From 1 on.
    public var line: Int
    public var reason: String

    public init(line: Int, reason: String) {
      self.line = line
      self.reason = reason
    }
  }

  /// A member or column, and its text; empty: it is nested, true, false or null.
  public typealias Field = (name: String, value: [UInt8])
  /// Is given each entry, and throws what is wrong with it.
  public typealias Body = (_ fields: [Field], _ line: Int) throws(Malformed) -> Void

  /// How the columns of CSV get their names. Names are lower case.
  public struct Columns: Sendable {
    /// Those of a list whose first line names none; nil: it must.
    public var usual: [String]?
    /// The first line names the columns.
    public var isHeader: @Sendable (_ names: [String]) -> Bool
    /// What to say of a list without a header that has to have one.
    public var advice: String
    /// Of a row with more columns: "where 4 are expected".
    public var excess: String

    public init(
      usual: [String]? = nil, advice: String = "", excess: String,
      isHeader: @escaping @Sendable (_ names: [String]) -> Bool
    ) {
      self.usual = usual
      self.advice = advice
      self.excess = excess
      self.isHeader = isHeader
    }
  }

  /// Reads whichever of the two it is: JSON begins with "{".
  public static func read(_ text: [UInt8], _ columns: Columns, _ body: Body) throws(Malformed) {
    let first = text.first { ![32, 10, 13, 9, 0xEF, 0xBB, 0xBF].contains($0) }
    if first == UInt8(ascii: "{") {
      try readJSON(text, body)
    } else {
      try readCSV(text, columns, body)
    }
  }

  /// JSON objects, one a line, from the byte `first` on; what is nested in them is left empty.
  public static func readJSON(
    _ text: [UInt8], from first: Int = 0, _ body: Body
  ) throws(Malformed) {
    var line = 0
    var start = first
    while start < text.count {
      let end = text[start...].firstIndex(of: 10) ?? text.count
      line += 1
      if text[start..<end].contains(where: { ![32, 13, 9].contains($0) }) {
        var reader = JSONReader(text, in: start..<end)
        var fields: [Field] = []
        do throws(JSONReader.Malformed) {
          for (name, value) in try reader.readObject() {
            let bytes = value.bytes ?? Array((value.text ?? "").utf8)
            fields.append((String(decoding: name, as: UTF8.self), bytes))
          }
          try reader.expectEnd()
        } catch { throw Malformed(line: line, reason: "broken JSON: \(error.reason)") }
        try body(fields, line)
      }
      start = end + 1
    }
  }

  private static func readCSV(
    _ text: [UInt8], _ columns: Columns, _ body: Body
  ) throws(Malformed) {
    var reader = CSVReader(text)
    var names: [String]?
    while let row = try reader.next() {
      if row == [[]] { continue }
      if names == nil {
        let first = row.map { String(decoding: $0, as: UTF8.self).lowercased() }
        let isHeader = columns.isHeader(first)
        names = isHeader ? first : columns.usual
        if names == nil { throw Malformed(line: reader.line, reason: columns.advice) }
        if isHeader { continue }
      }
      let known = names ?? []
      guard row.count <= known.count else {
        let reason = "\(row.count) columns where \(known.count) are \(columns.excess)"
        throw Malformed(line: reader.line, reason: reason)
      }
      try body(zip(known, row).map { ($0, $1) }, reader.line)
    }
  }

  // MARK: Fields

  /// A list is a promise: a size that cannot be true is refused with its line.
  public static func size(_ text: String, _ line: Int) throws(Malformed) -> UInt64 {
    guard let size = ObjectSize.parse(text) else {
      throw Malformed(line: line, reason: "the size \"\(text)\" is not a number of bytes")
    }
    guard ObjectSize.isReadable(size) else {
      throw Malformed(
        line: line,
        reason: "the size \(text) is more than a mount can read, \(ObjectSize.limit) bytes")
    }
    return size
  }

  /// A path that a mount can show.
  public static func check(path: [UInt8], _ line: Int) throws(Malformed) {
    guard ObjectName.isPath(path[...]) else {
      throw Malformed(
        line: line,
        reason: "the path \"\(ObjectKey(bytes: path))\" is not one of a file under the mount "
          + "(relative, no \"//\", no \".\" or \"..\")")
    }
  }
}
