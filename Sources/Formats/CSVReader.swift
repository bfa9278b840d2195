// By hand: no light package reads rows of bytes and names the line of an error.

/// RFC 4180: fields in commas, quoted where they contain commas, quotes ("" inside) or line ends.
public struct CSVReader {
  private let bytes: [UInt8]
  private var position = 0
  /// Of the row that was read last, from 1 on.
  public private(set) var line = 0
  private var lineEnds = 0

  /// A byte order mark is stepped over.
  public init(_ bytes: [UInt8]) {
    self.bytes = bytes
    if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { position = 3 }
  }

  /// The next row; nil: there is none.
  public mutating func next() throws(ManifestLines.Malformed) -> [[UInt8]]? {
    guard position < bytes.count else { return nil }
    line = lineEnds + 1
    var row: [[UInt8]] = []
    while true {
      row.append(try readField())
      guard position < bytes.count else { return row }
      let separator = bytes[position]
      position += 1
      if separator == 10 {
        lineEnds += 1
        return row
      }
    }
  }

  /// Leaves the position at "," or the line's end.
  private mutating func readField() throws(ManifestLines.Malformed) -> [UInt8] {
    guard position < bytes.count, bytes[position] == UInt8(ascii: "\"") else {
      let start = position
      while position < bytes.count, bytes[position] != UInt8(ascii: ","), bytes[position] != 10 {
        position += 1
      }
      var field = bytes[start..<position]
      if field.last == 13, position == bytes.count || bytes[position] == 10 { field.removeLast() }
      return Array(field)
    }
    position += 1
    var field: [UInt8] = []
    while position < bytes.count {
      let byte = bytes[position]
      position += 1
      if byte == 10 { lineEnds += 1 }
      guard byte == UInt8(ascii: "\"") else {
        field.append(byte)
        continue
      }
      if position < bytes.count, bytes[position] == UInt8(ascii: "\"") {
        field.append(byte)
        position += 1
        continue
      }
      if position < bytes.count, bytes[position] == 13 { position += 1 }
      guard position == bytes.count || bytes[position] == 10 || bytes[position] == UInt8(ascii: ",")
      else { throw ManifestLines.Malformed(line: line, reason: "text after a closing quote") }
      return field
    }
    throw ManifestLines.Malformed(line: line, reason: "a quote does not end")
  }
}
