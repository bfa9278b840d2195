import Formats
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
    do throws(ManifestLines.Malformed) {
      try ManifestLines.read(text, columns) { (fields, line) throws(ManifestLines.Malformed) in
        try add(fields, line, rules, &builder)
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
    do throws(UnreadableFile) { return try readRegularFile(path, atMost: bytesLimit) } catch {
      throw refusal(path, error.reason)
    }
  }

  // MARK: Lines

  private static let columns = ManifestLines.Columns(
    advice: "the first line must name the columns: path,size[,etag][,modified][,key][,url]",
    excess: "named"
  ) { $0.contains("path") && $0.contains("size") }

  static func add(
    _ fields: [ManifestLines.Field], _ line: Int, _ rules: Rules, _ builder: inout CatalogBuilder
  ) throws(ManifestLines.Malformed) {
    var path: [UInt8] = []
    var size: UInt64?
    var modified: Int64?
    var etag: [UInt8] = []
    var target: Catalog.Target?
    func bad(_ reason: String) -> ManifestLines.Malformed {
      ManifestLines.Malformed(line: line, reason: reason)
    }
    for (name, value) in fields where !value.isEmpty {
      switch name {
      case "path":
        path = !rules.isOurs && value.starts(with: "./".utf8) ? Array(value.dropFirst(2)) : value
      case "size":
        let text = String(decoding: value, as: UTF8.self)
        size = try ManifestLines.size(text, line)
      case "modified", "mtime":
        let text = String(decoding: value, as: UTF8.self)
        modified = UTCTime.listed(text)
        if modified == nil {
          throw bad("the time \"\(text)\" is neither seconds since 1970 nor ISO 8601")
        }
      case "etag":
        etag = value
        if rules.quotesETags { EntityTag.normalize(&etag) }
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
    if !rules.isOurs { try ManifestLines.check(path: path, line) }
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
