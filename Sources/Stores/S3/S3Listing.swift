import Credentials
import ObjectStore

/// One page of ListObjects, either version, read from its XML.
struct S3Listing: Equatable {
  /// Pages of 1,000 keys of 1,024 bytes, each byte written as "%XX", stay below 4 MiB.
  static let sizeLimit = 16 << 20

  var objects: [ObjectAttributes] = []
  var folders: [ObjectKey] = []
  var isTruncated = false
  /// NextContinuationToken, as it came.
  var nextToken: String?
  /// NextMarker of version 1, decoded.
  var nextMarker: ObjectKey?

  struct Malformed: Error, Equatable {
    var message: String
  }

  init(_ body: [UInt8]) throws(Malformed) {
    var reader = XMLReader(body)
    do throws(XMLReader.SyntaxError) {
      guard case .start("ListBucketResult") = try reader.next() else {
        throw XMLReader.SyntaxError(message: "not a ListBucketResult", position: 0)
      }
      try read(&reader)
    } catch {
      throw Malformed(message: "\(error.message) (byte \(error.position))")
    }
  }

  private mutating func read(_ reader: inout XMLReader) throws(XMLReader.SyntaxError) {
    var isEncoded = false
    while let event = try reader.next() {
      guard case .start(let name) = event else { continue }
      switch name {
      case "Contents": if let object = try Self.object(&reader) { objects.append(object) }
      case "CommonPrefixes": try folders.append(contentsOf: Self.prefixes(&reader))
      case "IsTruncated": isTruncated = try reader.string() == "true"
      case "NextContinuationToken": nextToken = try reader.string()
      case "NextMarker": nextMarker = ObjectKey(bytes: try reader.content())
      case "EncodingType": isEncoded = try reader.string() == "url"
      default: _ = try reader.content()
      }
    }
    // The reply says whether it is encoded: a store that ignores the wish is read right as well. It may
    // say so after the keys, so they are decoded last.
    guard isEncoded else { return }
    for index in objects.indices { objects[index].key = Self.decoded(objects[index].key) }
    for index in folders.indices { folders[index] = Self.decoded(folders[index]) }
    nextMarker = nextMarker.map(Self.decoded)
  }

  private static func decoded(_ key: ObjectKey) -> ObjectKey {
    ObjectKey(bytes: PercentEncoding.decodeForm(key.bytes))
  }

  private static func object(
    _ reader: inout XMLReader
  ) throws(XMLReader.SyntaxError) -> ObjectAttributes? {
    var key: ObjectKey?
    var found = ObjectAttributes(key: .root, size: nil, modified: nil)
    let level = reader.depth
    while let event = try reader.next() {
      if case .end = event, reader.depth < level { break }
      guard case .start(let name) = event else { continue }
      switch name {
      case "Key": key = ObjectKey(bytes: try reader.content())
      case "Size": found.size = UInt64(try reader.string())
      case "LastModified": found.modified = S3Date.iso8601(try reader.string())
      case "ETag": found.etag = S3ETag.normalized(try reader.string())
      case "StorageClass": found.isArchived = isArchive(try reader.string())
      default: _ = try reader.content()
      }
    }
    guard let key, !key.bytes.isEmpty else { return nil }
    found.key = key
    return found
  }

  private static func prefixes(
    _ reader: inout XMLReader
  ) throws(XMLReader.SyntaxError) -> [ObjectKey] {
    var found: [ObjectKey] = []
    let level = reader.depth
    while let event = try reader.next() {
      if case .end = event, reader.depth < level { break }
      if case .start("Prefix") = event { found.append(ObjectKey(bytes: try reader.content())) }
    }
    return found
  }

  /// GLACIER_IR is read like any other; the other two need a restore.
  static func isArchive(_ storageClass: String) -> Bool {
    storageClass == "GLACIER" || storageClass == "DEEP_ARCHIVE"
  }
}

/// Entity tags are opaque, but some stores write the same one with and without quotes.
enum S3ETag {
  static func normalized(_ tag: String) -> String {
    tag.isEmpty || tag.hasPrefix("\"") || tag.hasPrefix("W/") ? tag : "\"\(tag)\""
  }

  /// A proxy that compresses makes a tag weak; the ranges that we ask for are never compressed.
  static func areEqual(_ one: String, _ other: String) -> Bool { strong(one) == strong(other) }

  private static func strong(_ tag: String) -> Substring {
    tag.hasPrefix("W/") ? tag.dropFirst(2) : normalized(tag)[...]
  }
}

extension XMLReader {
  mutating func string() throws(SyntaxError) -> String {
    String(decoding: try content(), as: UTF8.self)
  }
}
