import ObjectStore

/// A list of files that replaces a server's listings: made once by the producer of the data set,
/// held sorted, and served directory by directory. It is binding: the sizes in it are checked at
/// every fetch, and a file that it leaves out does not exist.
///
/// Lines are CSV (`path,size,mtime,etag`, or any order under a header line; RFC 4180 quotes) or JSON
/// objects of the same names, one a line. Only the path must be there. `etag` is what the server
/// sends as ETag; `hash` (`sha256`, `md5`) is a name of the content that the server does not know.
struct HTTPManifest: Sendable {
  struct Malformed: Error, Equatable {
    var line: Int
    var reason: String
  }

  /// 72 bytes each, the text beside: 4 million take about half a GiB.
  static let entriesMax = 4_000_000
  static let bytesMax = 256 << 20

  /// In order of the bytes of their keys, each key once.
  private let objects: [ObjectAttributes]
  /// Every entry has a size.
  let isExact: Bool

  var count: Int { objects.count }

  init(parsing text: [UInt8]) throws(Malformed) {
    var objects: [ObjectAttributes] = []
    let first = text.first { ![32, 10, 13, 9, 0xEF, 0xBB, 0xBF].contains($0) }
    if first == UInt8(ascii: "{") {
      try Self.readJSONLines(text, into: &objects)
    } else {
      try Self.readCSV(text, into: &objects)
    }
    // A stable order: of several lines with one path the last is kept.
    let order = objects.indices.sorted {
      objects[$0].key == objects[$1].key ? $0 < $1 : objects[$0].key < objects[$1].key
    }
    var sorted: [ObjectAttributes] = []
    sorted.reserveCapacity(order.count)
    for index in order {
      if sorted.last?.key == objects[index].key { sorted.removeLast() }
      sorted.append(objects[index])
    }
    self.objects = sorted
    isExact = sorted.allSatisfy { $0.size != nil }
  }

  func attributes(of key: ObjectKey) -> ObjectAttributes? {
    let index = firstIndex(notBefore: key)
    return index < objects.count && objects[index].key == key ? objects[index] : nil
  }

  /// At most `limit` names (at least one) of a folder, from the index in `cursor` on.
  func page(of folder: ObjectKey, cursor: String?, limit: Int) -> ListPage {
    var page = ListPage()
    var index = cursor.flatMap { Int($0) } ?? firstIndex(notBefore: folder)
    var taken = 0
    while index >= 0, index < objects.count, objects[index].key.hasPrefix(folder) {
      if taken == max(1, limit) {
        page.next = String(index)
        break
      }
      taken += 1
      let key = objects[index].key
      let rest = key.bytes.dropFirst(folder.bytes.count)
      if let slash = rest.firstIndex(of: UInt8(ascii: "/")) {
        page.addFolder(ObjectKey(bytes: Array(key.bytes[...slash])))
        // "0" follows "/": past everything in that folder.
        index = firstIndex(
          notBefore: ObjectKey(bytes: Array(key.bytes[..<slash]) + [UInt8(ascii: "0")]))
      } else {
        page.add(objects[index])
        index += 1
      }
    }
    return page
  }

  private func firstIndex(notBefore key: ObjectKey) -> Int {
    var low = 0
    var high = objects.count
    while low < high {
      let middle = (low + high) / 2
      if objects[middle].key < key { low = middle + 1 } else { high = middle }
    }
    return low
  }

  // MARK: Lines

  private static func readJSONLines(
    _ text: [UInt8], into objects: inout [ObjectAttributes]
  ) throws(Malformed) {
    var line = 0
    var start = 0
    while start < text.count {
      let end = text[start...].firstIndex(of: 10) ?? text.count
      line += 1
      if text[start..<end].contains(where: { ![32, 13, 9].contains($0) }) {
        var reader = JSONReader(text, in: start..<end)
        let fields: [(name: [UInt8], value: JSONReader.Value)]
        do throws(JSONReader.Malformed) {
          fields = try reader.readObject()
          try reader.expectEnd()
        } catch { throw Malformed(line: line, reason: "broken JSON: \(error.reason)") }
        let pairs = fields.map {
          (
            String(decoding: $0.name, as: UTF8.self),
            $0.value.bytes ?? Array(($0.value.text ?? "").utf8)
          )
        }
        try append(pairs, line: line, to: &objects)
      }
      start = end + 1
    }
  }

  private static func readCSV(
    _ text: [UInt8], into objects: inout [ObjectAttributes]
  ) throws(Malformed) {
    var reader = CSVReader(text)
    var columns = ["path", "size", "mtime", "etag"]
    var isFirst = true
    while let row = try reader.next() {
      if row == [[]] { continue }
      if isFirst {
        isFirst = false
        let names = row.map { String(decoding: $0, as: UTF8.self).lowercased() }
        if names.contains(where: { pathNames.contains($0) }),
          names.count == 1 || names.contains("size")
        {
          columns = names
          continue
        }
      }
      guard row.count <= columns.count else {
        throw Malformed(
          line: reader.line, reason: "\(row.count) columns where \(columns.count) are expected")
      }
      try append(Array(zip(columns, row)), line: reader.line, to: &objects)
    }
  }

  private static let pathNames: Set = ["path", "name", "key"]

  private static func append(
    _ fields: [(name: String, value: [UInt8])], line: Int, to objects: inout [ObjectAttributes]
  ) throws(Malformed) {
    var path: [UInt8] = []
    var size: UInt64?
    var modified: Int64?
    var etag = ""
    for (name, value) in fields where !value.isEmpty {
      let text = String(decoding: value, as: UTF8.self)
      switch name.lowercased() {
      case "path", "name", "key": path = value
      case "size", "bytes":
        size = try self.size(text, line)
      case "mtime", "modified", "last_modified":
        guard let seconds = HTTPTime.parseSecondsOrISO(text) ?? HTTPTime.parseRFC1123(text) else {
          throw Malformed(
            line: line, reason: "the time \"\(text)\" is neither seconds nor ISO 8601")
        }
        modified = seconds
      case "etag": etag = text.hasPrefix("\"") ? text : "\"\(text)\""
      case "hash", "sha256", "md5": if etag.isEmpty { etag = "\(name):\(text)" }
      default: break
      }
    }
    if path.starts(with: "./".utf8) { path.removeFirst(2) }
    guard HTTPSite.isPath(path[...]) else {
      throw Malformed(
        line: line,
        reason: "the path \"\(ObjectKey(bytes: path))\" is not one of a file under the mount "
          + "(relative, no \"//\", no \".\" or \"..\")")
    }
    guard objects.count < entriesMax else {
      throw Malformed(line: line, reason: "more than \(entriesMax) files")
    }
    objects.append(
      ObjectAttributes(key: ObjectKey(bytes: path), size: size, modified: modified, etag: etag))
  }

  /// A list is a promise: a size that cannot be true is refused with its line.
  static func size(_ text: String, _ line: Int) throws(Malformed) -> UInt64 {
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
}

/// RFC 4180: fields in commas, quoted where they contain commas, quotes ("" inside) or line ends.
struct CSVReader {
  private let bytes: [UInt8]
  private var position = 0
  private(set) var line = 0
  private var lineEnds = 0

  init(_ bytes: [UInt8]) {
    self.bytes = bytes
    if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { position = 3 }
  }

  mutating func next() throws(HTTPManifest.Malformed) -> [[UInt8]]? {
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
  private mutating func readField() throws(HTTPManifest.Malformed) -> [UInt8] {
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
      else { throw HTTPManifest.Malformed(line: line, reason: "text after a closing quote") }
      return field
    }
    throw HTTPManifest.Malformed(line: line, reason: "a quote does not end")
  }
}
