import Glibc

/// ListObjects, both versions, as XML.
struct Listing {
  static let head = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"

  private let bucket: String
  private let isV2: Bool
  private let delimiter: String
  private let query: ListQuery

  init(request: Request, bucket: String, knowsV2: Bool = true) {
    self.bucket = bucket
    isV2 = knowsV2 && request["list-type"] == "2"
    delimiter = request["delimiter"] ?? ""
    let token = request["continuation-token"].map { percentDecoded($0) }
    let start =
      isV2
      ? token ?? Array((request["start-after"] ?? "").utf8) : Array((request["marker"] ?? "").utf8)
    query = ListQuery(
      prefix: Array((request["prefix"] ?? "").utf8), delimiter: delimiter.utf8.first, start: start,
      limit: min(1000, Int(request["max-keys"] ?? "") ?? 1000),
      isEncoded: request["encoding-type"] == "url")
  }

  /// Writes the names of the page into `page` and returns what stands before them; nil: no such bucket.
  func write(_ objects: Objects, into page: PageBytes) -> String? {
    page.clear()
    let progress: SyntheticTrees.Progress
    if let trees = objects.trees(bucket) {
      progress = trees.write(query, into: page)
    } else {
      guard let found = objects.list(bucket, query) else { return nil }
      for (key, entry) in found.objects {
        page.object(
          key, isEncoded: query.isEncoded, modified: entry.modified, size: entry.size,
          etag: entry.etag.utf8.filter { $0 != 0x22 })
      }
      for prefix in found.prefixes { page.commonPrefix(prefix, isEncoded: query.isEncoded) }
      progress = SyntheticTrees.Progress(
        count: found.objects.count + found.prefixes.count, next: found.next)
    }
    page.end()
    return head(progress)
  }

  private func head(_ progress: SyntheticTrees.Progress) -> String {
    var xml = Self.head + "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
    xml += "<Name>\(bucket)</Name><Prefix>\(text(query.prefix))</Prefix>"
    xml += "<MaxKeys>\(query.limit)</MaxKeys><KeyCount>\(progress.count)</KeyCount>"
    if !delimiter.isEmpty { xml += "<Delimiter>\(delimiter)</Delimiter>" }
    if query.isEncoded { xml += "<EncodingType>url</EncodingType>" }
    xml += "<IsTruncated>\(progress.next != nil)</IsTruncated>"
    if let next = progress.next {
      xml +=
        isV2
        ? "<NextContinuationToken>\(text(next, isEncoded: true))</NextContinuationToken>"
        : "<NextMarker>\(text(next))</NextMarker>"
    }
    return xml
  }

  static func buckets(_ names: [String]) -> String {
    let list = names.map {
      "<Bucket><Name>\($0)</Name><CreationDate>\(Dates.iso(0))</CreationDate></Bucket>"
    }
    return head + "<ListAllMyBucketsResult><Owner><ID>link</ID></Owner><Buckets>\(list.joined())"
      + "</Buckets></ListAllMyBucketsResult>"
  }

  private func text(_ key: [UInt8], isEncoded: Bool? = nil) -> String {
    let bytes = PageBytes()
    bytes.name(key, isEncoded: isEncoded ?? query.isEncoded)
    return String(decoding: bytes.bytes, as: UTF8.self)
  }
}

enum Dates {
  static func http(_ seconds: Int) -> String { format(seconds, "%a, %d %b %Y %H:%M:%S GMT") }
  static func iso(_ seconds: Int) -> String { format(seconds, "%Y-%m-%dT%H:%M:%S.000Z") }

  /// "20261123T111500Z".
  static func parse(_ stamp: String) -> Int? {
    let digits = stamp.utf8.compactMap { $0 > 47 && $0 < 58 ? Int($0) - 48 : nil }
    guard digits.count == 14 else { return nil }
    func number(_ range: Range<Int>) -> CInt { CInt(digits[range].reduce(0) { $0 * 10 + $1 }) }
    var parts = tm()
    parts.tm_year = number(0..<4) - 1900
    parts.tm_mon = number(4..<6) - 1
    parts.tm_mday = number(6..<8)
    parts.tm_hour = number(8..<10)
    parts.tm_min = number(10..<12)
    parts.tm_sec = number(12..<14)
    return timegm(&parts)
  }

  private static func format(_ seconds: Int, _ pattern: String) -> String {
    var time = time_t(seconds)
    var parts = tm()
    gmtime_r(&time, &parts)
    var buffer = [CChar](repeating: 0, count: 64)
    let count = strftime(&buffer, buffer.count, pattern, &parts)
    return String(decoding: buffer.prefix(count).map(UInt8.init(bitPattern:)), as: UTF8.self)
  }
}
