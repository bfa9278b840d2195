import Formats
import ObjectStore

/// The listing of one folder as a web server gave it.
struct HTTPIndex: Equatable {
  struct Entry: Equatable {
    /// One path segment: not empty, no "/", no NUL, neither "." nor "..".
    var name: [UInt8]
    var isFolder: Bool
    /// Bytes; `nil` where the index rounds it or has none.
    var size: UInt64?
    /// Seconds since 1970; of an HTML index a whole minute.
    var modified: Int64?
  }

  var entries: [Entry]
  /// Sizes are exact, and times are whole minutes.
  var timesAreMinutes = false

  /// Entries in one folder; a body of `bodyBytesMax` hardly holds more.
  static let entriesMax = 1_000_000
  /// Body of one listing, bytes.
  static let bodyBytesMax = 64 << 20

  struct Unusable: Error, Equatable {
    var reason: String
    /// It is a page, but not of files.
    var isNoIndex = false
  }

  /// Reads whatever `body` is: JSON (nginx, Caddy) or HTML (Apache, nginx, Python, rclone, ...).
  /// `folder` is the address that the body came from.
  static func parse(
    _ body: [UInt8], contentType: String, folder: HTTPURL
  ) throws(Unusable) -> HTTPIndex {
    let first = body.first { ![32, 10, 13, 9, 0xEF, 0xBB, 0xBF].contains($0) }
    let type = contentType.prefix { $0 != ";" }.lowercased()
    if type.hasSuffix("/json") || (first == UInt8(ascii: "[") && !type.hasSuffix("html")) {
      return try parseJSON(body)
    }
    if type.contains("html") || (type.isEmpty && first == UInt8(ascii: "<")) {
      return try HTMLIndex.parse(body, folder: folder)
    }
    throw Unusable(reason: "the response is \(type.isEmpty ? "of no type" : type)", isNoIndex: true)
  }

  /// nginx: name, type (file, directory, other), mtime, size. Caddy: name, is_dir, mod_time, size.
  static func parseJSON(_ body: [UInt8]) throws(Unusable) -> HTTPIndex {
    var entries: [Entry] = []
    var isFull = false
    var reader = JSONReader(body)
    do throws(JSONReader.Malformed) {
      try reader.readObjects { fields in
        guard let entry = entry(of: fields) else { return }
        if entries.count < entriesMax { entries.append(entry) } else { isFull = true }
      }
    } catch {
      throw Unusable(reason: "broken JSON at byte \(error.offset): \(error.reason)")
    }
    if isFull { throw tooMany }
    return HTTPIndex(entries: unique(entries))
  }

  static var tooMany: Unusable {
    Unusable(reason: "more than \(entriesMax) entries in one directory")
  }

  /// `nil`: nothing that a mount can show (a socket, a name with "/" in it).
  private static func entry(of fields: [(name: [UInt8], value: JSONReader.Value)]) -> Entry? {
    var entry = Entry(name: [], isFolder: false, size: nil, modified: nil)
    for (name, value) in fields {
      switch String(decoding: name, as: UTF8.self) {
      case "name": entry.name = value.bytes ?? []
      case "type":
        if value.text == "other" { return nil }
        entry.isFolder = entry.isFolder || value.text == "directory"
      case "is_dir": entry.isFolder = entry.isFolder || value == .bool(true)
      case "size": entry.size = value.text.flatMap { ObjectSize.parse($0) }
      case "mtime", "mod_time":
        let text = value.text ?? ""
        entry.modified = UTCTime.http(text) ?? UTCTime.listed(text)
      default: break
      }
    }
    if entry.isFolder, entry.name.last == UInt8(ascii: "/") { entry.name.removeLast() }
    if entry.isFolder { (entry.size, entry.modified) = (nil, nil) }
    return ObjectName.isSegment(entry.name) ? entry : nil
  }

  /// In order of bytes, each name once (an icon and a name often link to the same file).
  static func unique(_ entries: [Entry]) -> [Entry] {
    let sorted = entries.sorted {
      $0.name == $1.name
        ? !$0.isFolder && $1.isFolder : $0.name.lexicographicallyPrecedes($1.name)
    }
    var kept: [Entry] = []
    for entry in sorted where entry.name != kept.last?.name || entry.isFolder != kept.last?.isFolder
    {
      kept.append(entry)
    }
    return kept
  }

  /// Sizes and times are to be asked for.
  mutating func dropSizes() {
    timesAreMinutes = false
    for at in entries.indices { (entries[at].size, entries[at].modified) = (nil, nil) }
  }

  /// The page of a folder's listing.
  func page(of folder: ObjectKey) -> ListPage {
    var page = ListPage(folderExists: true)
    for entry in entries where !entry.isFolder {
      page.add(
        ObjectAttributes(key: folder + entry.name, size: entry.size, modified: entry.modified))
    }
    let folders = entries.filter(\.isFolder).map { folder + ($0.name + [UInt8(ascii: "/")]) }
    for folder in folders.sorted() { page.addFolder(folder) }
    return page
  }
}
