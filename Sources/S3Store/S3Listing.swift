import Formats
import Glibc
import ObjectStore

/// One page of ListObjects, either version, read from its XML.
struct S3Listing {
  /// A page's largest body, bytes. A key of 1,024 bytes, each written as "%XX", stays below 4 KiB; a store that gives
  /// a full page where one key was asked for stays below 1 MiB.
  static func bodyLimit(keys: Int) -> Int { (1 << 20) + min(max(1, keys), 1000) * (15 << 10) }

  /// Objects and folders as the store gave them, its marker of the folder itself included.
  var page = ListPage()
  var isTruncated = false
  /// NextContinuationToken, as it came.
  var nextToken: String?
  /// NextMarker of version 1, decoded.
  var nextMarker: ObjectKey?

  var objects: [ObjectAttributes] { page.objects }
  var folders: [ObjectKey] { page.folders }

  struct Malformed: Error, Equatable {
    var message: String
  }

  init(_ body: [UInt8]) throws(Malformed) {
    // The reply says whether it is encoded: a store that ignores the wish is read right as well. It may
    // say so after the keys.
    var failure: XMLReader.SyntaxError?
    body.withUnsafeBytes { body in
      do throws(XMLReader.SyntaxError) { try read(body) } catch { failure = error }
    }
    if let failure { throw Malformed(message: "\(failure.message) (byte \(failure.position))") }
  }

  private mutating func read(_ body: UnsafeRawBufferPointer) throws(XMLReader.SyntaxError) {
    var builder = Builder(isEncoded: Self.isEncoded(body))
    var reader = XMLReader(body)
    page.reserve(items: 1000, bytes: body.count / 3)
    guard case .start(let root) = try reader.next(), reader.isNamed("ListBucketResult", root)
    else { throw XMLReader.SyntaxError(message: "not a ListBucketResult", position: 0) }
    try read(&reader, &builder)
  }

  private static func isEncoded(_ body: UnsafeRawBufferPointer) -> Bool {
    let mark: StaticString = "<EncodingType>url<"
    let length = mark.utf8CodeUnitCount
    var start = 0
    while start + length <= body.count,
      let found = memchr(body.baseAddress! + start, CInt(UInt8(ascii: "<")), body.count - start)
    {
      start = UnsafeRawPointer(found) - body.baseAddress!
      if start + length <= body.count, memcmp(found, mark.utf8Start, length) == 0 { return true }
      start += 1
    }
    return false
  }

  private mutating func read(
    _ reader: inout XMLReader, _ builder: inout Builder
  ) throws(XMLReader.SyntaxError) {
    while let name = try reader.element(in: 1) {
      if reader.isNamed("Contents", name) {
        try builder.readObject(&reader, into: &page)
      } else if reader.isNamed("CommonPrefixes", name) {
        try builder.readFolders(&reader, into: &page)
      } else if reader.isNamed("IsTruncated", name) {
        isTruncated = try reader.string() == "true"
      } else if reader.isNamed("NextContinuationToken", name) {
        nextToken = try reader.string()
      } else if reader.isNamed("NextMarker", name) {
        nextMarker = ObjectKey(bytes: builder.decoded(try reader.content()))
      } else {
        try reader.skipContent()
      }
    }
  }

  /// Reads entries into a page by way of two buffers that are used again for each.
  private struct Builder {
    let isEncoded: Bool
    private var key: [UInt8] = []
    private var text: [UInt8] = []
    private var etag: [UInt8] = []

    init(isEncoded: Bool) { self.isEncoded = isEncoded }

    func decoded(_ bytes: [UInt8]) -> [UInt8] {
      isEncoded ? PercentEncoding.decodeForm(bytes) : bytes
    }

    mutating func readObject(
      _ reader: inout XMLReader, into page: inout ListPage
    ) throws(XMLReader.SyntaxError) {
      key.removeAll(keepingCapacity: true)
      etag.removeAll(keepingCapacity: true)
      var size: UInt64?
      var modified: Int64?
      var isArchived = false
      let level = reader.depth
      while let name = try reader.element(in: level) {
        if reader.isNamed("Key", name) {
          key.removeAll(keepingCapacity: true)
          try read(&reader, into: &key)
        } else if reader.isNamed("Size", name) {
          try readText(&reader)
          size = ObjectSize.parse(text)
        } else if reader.isNamed("LastModified", name) {
          try readText(&reader)
          modified = UTCTime.iso8601(text)
        } else if reader.isNamed("ETag", name) {
          etag.removeAll(keepingCapacity: true)
          try read(&reader, into: &etag)
          EntityTag.normalize(&etag)
        } else if reader.isNamed("StorageClass", name) {
          try readText(&reader)
          isArchived =
            text.first == UInt8(ascii: "G") || text.first == UInt8(ascii: "D")
            ? S3Listing.isArchive(String(decoding: text, as: UTF8.self)) : false
        } else {
          try reader.skipContent()
        }
      }
      if isEncoded { PercentEncoding.decodeForm(&key) }
      guard !key.isEmpty else { return }
      key.withUnsafeBytes { key in
        etag.withUnsafeBytes {
          page.add(key: key, etag: $0, size: size, modified: modified, isArchived: isArchived)
        }
      }
    }

    private mutating func readText(_ reader: inout XMLReader) throws(XMLReader.SyntaxError) {
      text.removeAll(keepingCapacity: true)
      try read(&reader, into: &text)
    }

    private func read(
      _ reader: inout XMLReader, into buffer: inout [UInt8]
    ) throws(XMLReader.SyntaxError) {
      if let plain = try reader.plainContent() {
        buffer.append(contentsOf: plain)
      } else {
        try reader.content(into: &buffer)
      }
    }

    mutating func readFolders(
      _ reader: inout XMLReader, into page: inout ListPage
    ) throws(XMLReader.SyntaxError) {
      let level = reader.depth
      while let name = try reader.element(in: level) {
        guard reader.isNamed("Prefix", name) else { continue }
        key.removeAll(keepingCapacity: true)
        try reader.content(into: &key)
        if isEncoded { PercentEncoding.decodeForm(&key) }
        key.withUnsafeBytes { page.addFolder($0) }
      }
    }
  }

  /// GLACIER_IR is read like any other; the other two need a restore.
  static func isArchive(_ storageClass: String) -> Bool {
    storageClass == "GLACIER" || storageClass == "DEEP_ARCHIVE"
  }
}
