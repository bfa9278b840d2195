import Credentials
import Glibc
public import ObjectStore
import Posix

/// A list of the objects of a data set, made by the producer of the data. The mount shows exactly these,
/// and requests no listing.
///
/// CSV under a header line (RFC 4180 quotes) or JSON objects, one a line: `path` (relative to the
/// mount) and `size` must be there; `etag`, `modified` (seconds or ISO 8601), and `key` (another key of
/// the same store) or `url` (http or https) may. What cannot be right is refused with its line.
public enum ManifestReader {
  /// Of the file, bytes. It is read whole; the catalog that is made of it occupies about as much again.
  public static let bytesLimit = 4 << 30

  /// `prefix`: what paths are relative to, empty or ending in "/". `quotesETags`: the store's etags have
  /// quotes, which people leave out.
  public static func read(
    file path: String, prefix: ObjectKey, quotesETags: Bool
  ) throws(StoreError) -> Catalog {
    try parse(try load(path), path, Rules(prefix: prefix, quotesETags: quotesETags))
  }

  /// What an entry is taken by.
  struct Rules {
    var prefix: ObjectKey
    var quotesETags = false
    /// A snapshot has what its store has, names that no path reaches included: the mount hides them.
    var isOurs = false
  }

  private static func parse(
    _ text: [UInt8], _ name: String, _ rules: Rules
  ) throws(StoreError) -> Catalog {
    var builder = CatalogBuilder()
    let first = text.first { ![32, 10, 13, 9, 0xEF, 0xBB, 0xBF].contains($0) }
    do throws(HTTPManifest.Malformed) {
      if first == UInt8(ascii: "{") {
        try readJSONLines(text, rules, &builder)
      } else {
        try readCSV(text, rules, &builder)
      }
    } catch {
      throw refusal(name, "line \(error.line): \(error.reason)")
    }
    do throws(Catalog.Duplicate) { return try Catalog(builder) } catch {
      throw refusal(name, "the path \"\(error.key)\" occurs twice")
    }
  }

  static func refusal(_ name: String, _ detail: String) -> StoreError {
    StoreError(
      .invalidSource, store: "manifest \(name)", detail: detail,
      advice: "see docs/command-line.md for the format of a manifest")
  }

  static func load(_ path: String) throws(StoreError) -> [UInt8] {
    do {
      let file = try OwnedDescriptor.open(path, O_RDONLY)
      var status = stat()
      guard fstat(file.raw, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
        throw refusal(path, "not a file")
      }
      guard status.st_size <= bytesLimit else {
        throw refusal(path, "larger than \(bytesLimit >> 30) GiB")
      }
      var bytes = [UInt8](repeating: 0, count: Int(status.st_size))
      var filled = 0
      while filled < bytes.count {
        let count = bytes.withUnsafeMutableBytes {
          pread(file.raw, $0.baseAddress! + filled, $0.count - filled, off_t(filled))
        }
        if count < 0 && errno == EINTR { continue }
        guard count > 0 else { throw refusal(path, "cannot be read: errno \(errno)") }
        filled += count
      }
      return bytes
    } catch let error as StoreError {
      throw error
    } catch {
      throw refusal(path, "cannot be opened: \(error)")
    }
  }

  // MARK: Lines

  typealias Field = (name: String, value: [UInt8])

  static func readJSONLines(
    _ text: [UInt8], from first: Int = 0, _ rules: Rules, _ builder: inout CatalogBuilder
  ) throws(HTTPManifest.Malformed) {
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
            fields.append(
              (
                String(decoding: name, as: UTF8.self),
                value.bytes ?? Array((value.text ?? "").utf8)
              ))
          }
          try reader.expectEnd()
        } catch {
          throw HTTPManifest.Malformed(line: line, reason: "broken JSON: \(error.reason)")
        }
        try add(fields, line, rules, &builder)
      }
      start = end + 1
    }
  }

  private static func readCSV(
    _ text: [UInt8], _ rules: Rules, _ builder: inout CatalogBuilder
  ) throws(HTTPManifest.Malformed) {
    var reader = CSVReader(text)
    var columns: [String]?
    while let row = try reader.next() {
      if row == [[]] { continue }
      guard let columns else {
        let names = row.map { String(decoding: $0, as: UTF8.self).lowercased() }
        guard names.contains("path"), names.contains("size") else {
          throw HTTPManifest.Malformed(
            line: reader.line,
            reason: "the first line must name the columns: path,size[,etag][,modified][,key][,url]")
        }
        columns = names
        continue
      }
      guard row.count <= columns.count else {
        throw HTTPManifest.Malformed(
          line: reader.line, reason: "\(row.count) columns where \(columns.count) are named")
      }
      try add(zip(columns, row).map { ($0, $1) }, reader.line, rules, &builder)
    }
  }

  private static func add(
    _ fields: [Field], _ line: Int, _ rules: Rules, _ builder: inout CatalogBuilder
  ) throws(HTTPManifest.Malformed) {
    var path: [UInt8] = []
    var size: UInt64?
    var modified: Int64?
    var etag: [UInt8] = []
    var target: Catalog.Target?
    func bad(_ reason: String) -> HTTPManifest.Malformed {
      HTTPManifest.Malformed(line: line, reason: reason)
    }
    for (name, value) in fields where !value.isEmpty {
      switch name {
      case "path":
        path = !rules.isOurs && value.starts(with: "./".utf8) ? Array(value.dropFirst(2)) : value
      case "size":
        let text = String(decoding: value, as: UTF8.self)
        size = try HTTPManifest.size(text, line)
      case "modified", "mtime":
        let text = String(decoding: value, as: UTF8.self)
        modified = HTTPTime.parseSecondsOrISO(text)
        if modified == nil {
          throw bad("the time \"\(text)\" is neither seconds since 1970 nor ISO 8601")
        }
      case "etag":
        etag = value
        if rules.quotesETags { S3ETag.normalize(&etag) }
      case "key": target = .key(ObjectKey(bytes: value))
      case "url":
        let text = String(decoding: value, as: UTF8.self)
        guard (try? HTTPURL.parse(text)) != nil else {
          throw bad("the url is not an http or https address")
        }
        target = .url(text)
      default: break
      }
    }
    guard !path.isEmpty else { throw bad("no path") }
    guard rules.isOurs || HTTPSite.isPath(path[...]) else {
      throw bad(
        "the path \"\(ObjectKey(bytes: path))\" is not one of a file under the mount (relative, no "
          + "\"//\", no \".\" or \"..\")")
    }
    guard let size else {
      throw bad("the size is missing")
    }
    if !builder.add(
      key: rules.prefix.bytes + path, size: size, modified: modified, etag: etag, target: target)
    {
      throw bad("the etag is too long")
    }
  }
}
