import Formats
import ObjectStore

/// One page of ListObjectVersions, and of it the tree as it was at a moment.
///
/// The versions of a key may continue on the next page. So the place where a listing continues also
/// records whether more versions of its key count.
struct S3VersionListing {
  struct Entry: Equatable {
    var key: ObjectKey
    var version = ""
    var etag = ""
    var size: UInt64?
    var modified: Int64 = 0
    var isLatest = false
    var isArchived = false
    /// The object was deleted at that time.
    var isDeletion = false
  }

  /// Where the next page begins.
  struct Place: Equatable {
    var key: [UInt8]
    var version: String
    /// Nothing more of `key` counts: it was shown, or was deleted at the moment.
    var isSettled: Bool

    /// As `ListCursor` carries it.
    var token: String {
      "\(isSettled ? "s" : "o") \(PercentEncoding.encode(key)) \(PercentEncoding.encode(version.utf8))"
    }

    init(key: [UInt8], version: String, isSettled: Bool) {
      self.key = key
      self.version = version
      self.isSettled = isSettled
    }

    init?(token: String) {
      let parts = token.split(separator: " ", omittingEmptySubsequences: false)
      guard parts.count == 3 else { return nil }
      key = PercentEncoding.decodeForm(Array(parts[1].utf8))
      version = String(decoding: PercentEncoding.decodeForm(Array(parts[2].utf8)), as: UTF8.self)
      isSettled = parts[0] == "s"
    }
  }

  private(set) var entries: [Entry] = []
  private var folders: [ObjectKey] = []
  private var isTruncated = false
  private var nextKey: [UInt8]?
  private var nextVersion = ""

  init(_ body: [UInt8]) throws(S3Listing.Malformed) {
    var failure: XMLReader.SyntaxError?
    body.withUnsafeBytes { body in
      do throws(XMLReader.SyntaxError) { try read(body) } catch { failure = error }
    }
    if let failure {
      throw S3Listing.Malformed(message: "\(failure.message) (byte \(failure.position))")
    }
  }

  /// The newest version of each key that is not younger than `moment` (seconds since 1970), and where the
  /// listing goes on; `place`: where this page began.
  func page(at moment: Int64, from place: Place?) -> (page: ListPage, next: Place?) {
    var page = ListPage()
    var settled: ObjectKey? = place.flatMap { $0.isSettled ? ObjectKey(bytes: $0.key) : nil }
    for entry in newestFirst where entry.key != settled && entry.modified <= moment {
      settled = entry.key
      if entry.isDeletion { continue }
      page.add(
        ObjectAttributes(
          key: entry.key, size: entry.size, modified: entry.modified,
          etag: VersionTag(etag: entry.etag, version: entry.version).text,
          isArchived: entry.isArchived))
    }
    for folder in folders { page.addFolder(folder) }
    guard isTruncated, let nextKey else { return (page, nil) }
    let isSettled = settled?.bytes == nextKey
    return (page, Place(key: nextKey, version: nextVersion, isSettled: isSettled))
  }

  var isCutOffWithoutMarker: Bool { isTruncated && nextKey == nil }

  /// By key, and within it the youngest first. Some stores list deletions apart; of two of one second the
  /// latest of all goes first, else the order of the listing holds.
  private var newestFirst: [Entry] {
    entries.enumerated().sorted { left, right in
      if left.element.key != right.element.key { return left.element.key < right.element.key }
      if left.element.modified != right.element.modified {
        return left.element.modified > right.element.modified
      }
      if left.element.isLatest != right.element.isLatest { return left.element.isLatest }
      return left.offset < right.offset
    }.map(\.element)
  }

  // MARK: Reading

  private mutating func read(_ body: UnsafeRawBufferPointer) throws(XMLReader.SyntaxError) {
    var reader = XMLReader(body)
    guard case .start(let root) = try reader.next(),
      reader.isNamed("ListVersionsResult", root) || reader.isNamed("ListBucketResult", root)
    else { throw XMLReader.SyntaxError(message: "not a ListVersionsResult", position: 0) }
    var isEncoded = false
    while let name = try reader.element(in: 1) {
      if reader.isNamed("Version", name) {
        try readEntry(&reader, isDeletion: false)
      } else if reader.isNamed("DeleteMarker", name) {
        try readEntry(&reader, isDeletion: true)
      } else if reader.isNamed("CommonPrefixes", name) {
        try readFolders(&reader)
      } else if reader.isNamed("IsTruncated", name) {
        isTruncated = try reader.string() == "true"
      } else if reader.isNamed("NextKeyMarker", name) {
        let marker = try reader.content()
        if !marker.isEmpty { nextKey = marker }
      } else if reader.isNamed("NextVersionIdMarker", name) {
        nextVersion = try reader.string()
      } else if reader.isNamed("EncodingType", name) {
        isEncoded = try reader.string() == "url"
      } else {
        try reader.skipContent()
      }
    }
    if isEncoded { decode() }
  }

  /// It is known only at the end whether the keys are encoded.
  private mutating func decode() {
    for index in entries.indices {
      entries[index].key = ObjectKey(bytes: PercentEncoding.decodeForm(entries[index].key.bytes))
    }
    folders = folders.map { ObjectKey(bytes: PercentEncoding.decodeForm($0.bytes)) }
    nextKey = nextKey.map { PercentEncoding.decodeForm($0) }
  }

  private mutating func readEntry(
    _ reader: inout XMLReader, isDeletion: Bool
  ) throws(XMLReader.SyntaxError) {
    var entry = Entry(key: .root, isDeletion: isDeletion)
    let level = reader.depth
    while let name = try reader.element(in: level) {
      if reader.isNamed("Key", name) {
        entry.key = ObjectKey(bytes: try reader.content())
      } else if reader.isNamed("VersionId", name) {
        entry.version = try reader.string()
      } else if reader.isNamed("IsLatest", name) {
        entry.isLatest = try reader.string() == "true"
      } else if reader.isNamed("LastModified", name) {
        entry.modified = UTCTime.iso8601(try reader.string()) ?? .max
      } else if reader.isNamed("ETag", name) {
        entry.etag = EntityTag.normalized(try reader.string())
      } else if reader.isNamed("Size", name) {
        entry.size = ObjectSize.parse(try reader.content())
      } else if reader.isNamed("StorageClass", name) {
        entry.isArchived = S3Listing.isArchive(try reader.string())
      } else {
        try reader.skipContent()
      }
    }
    if entry.key != .root { entries.append(entry) }
  }

  private mutating func readFolders(
    _ reader: inout XMLReader
  ) throws(XMLReader.SyntaxError) {
    let level = reader.depth
    while let name = try reader.element(in: level) {
      guard reader.isNamed("Prefix", name) else { continue }
      folders.append(ObjectKey(bytes: try reader.content()))
    }
  }
}
