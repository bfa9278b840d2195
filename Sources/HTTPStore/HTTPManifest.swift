import Formats
import ObjectStore

/// A list of files that replaces a server's listings: made once by the producer of the data set,
/// held sorted, and served directory by directory. It is binding: the sizes in it are checked at
/// every fetch, and a file that it leaves out does not exist.
///
/// Lines are CSV (`path,size,mtime,etag`, or any order under a header line; RFC 4180 quotes) or JSON
/// objects of the same names, one a line. Only the path must be there. `etag` is what the server
/// sends as ETag; `hash` (`sha256`, `md5`) is a name of the content that the server does not know.
struct HTTPManifest: Sendable {
  /// 72 bytes each, the text beside: 4 million take about half a GiB.
  static let entriesMax = 4_000_000
  static let bytesMax = 256 << 20

  /// In order of the bytes of their keys, each key once.
  private let objects: [ObjectAttributes]
  /// Every entry has a size.
  let isExact: Bool

  var count: Int { objects.count }

  init(parsing text: [UInt8]) throws(ManifestLines.Malformed) {
    var objects: [ObjectAttributes] = []
    try ManifestLines.read(text, Self.columns) { (fields, line) throws(ManifestLines.Malformed) in
      try Self.append(fields, line: line, to: &objects)
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

  private var keys: SortedKeys {
    SortedKeys(count: objects.count) { [objects] in objects[$0].key.bytes[...] }
  }

  func attributes(of key: ObjectKey) -> ObjectAttributes? {
    keys.index(of: key).map { objects[$0] }
  }

  /// At most `limit` names (at least one) of a folder, from the index in `cursor` on.
  func page(of folder: ObjectKey, cursor: String?, limit: Int) -> ListPage {
    keys.page(of: folder, cursor: cursor, limit: limit) { $1.add(objects[$0]) }
  }

  // MARK: Lines

  private static let columns = ManifestLines.Columns(
    usual: ["path", "size", "mtime", "etag"], excess: "expected"
  ) { names in
    names.contains { ["path", "name", "key"].contains($0) }
      && (names.count == 1 || names.contains("size"))
  }

  private static func append(
    _ fields: [ManifestLines.Field], line: Int, to objects: inout [ObjectAttributes]
  ) throws(ManifestLines.Malformed) {
    var path: [UInt8] = []
    var size: UInt64?
    var modified: Int64?
    var etag = ""
    for (name, value) in fields where !value.isEmpty {
      let text = String(decoding: value, as: UTF8.self)
      switch name.lowercased() {
      case "path", "name", "key": path = value
      case "size", "bytes":
        size = try ManifestLines.size(text, line)
      case "mtime", "modified", "last_modified":
        guard let seconds = UTCTime.listed(text) ?? UTCTime.http(text) else {
          throw ManifestLines.Malformed(
            line: line, reason: "the time \"\(text)\" is neither seconds nor ISO 8601")
        }
        modified = seconds
      case "etag": etag = text.hasPrefix("\"") ? text : "\"\(text)\""
      case "hash", "sha256", "md5": if etag.isEmpty { etag = "\(name):\(text)" }
      default: break
      }
    }
    if path.starts(with: "./".utf8) { path.removeFirst(2) }
    try ManifestLines.check(path: path, line)
    guard objects.count < entriesMax else {
      throw ManifestLines.Malformed(line: line, reason: "more than \(entriesMax) files")
    }
    objects.append(
      ObjectAttributes(key: ObjectKey(bytes: path), size: size, modified: modified, etag: etag))
  }
}
