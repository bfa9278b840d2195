import Glibc

/// ListObjects, both versions, as XML.
struct Listing {
  static let head = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"

  private let bucket: String
  private let isV2: Bool
  private let prefix: [UInt8]
  private let delimiter: String
  private let start: [UInt8]
  private let limit: Int
  private let isEncoded: Bool

  init(request: Request, bucket: String) {
    self.bucket = bucket
    isV2 = request["list-type"] == "2"
    prefix = Array((request["prefix"] ?? "").utf8)
    delimiter = request["delimiter"] ?? ""
    let token = request["continuation-token"].map { percentDecoded($0) }
    start =
      isV2
      ? token ?? Array((request["start-after"] ?? "").utf8) : Array((request["marker"] ?? "").utf8)
    limit = min(1000, Int(request["max-keys"] ?? "") ?? 1000)
    isEncoded = request["encoding-type"] == "url"
  }

  func page(of objects: Objects) -> Objects.Page? {
    objects.list(
      bucket, prefix: prefix, delimiter: delimiter.utf8.first, after: start, limit: limit)
  }

  func xml(_ page: Objects.Page) -> String {
    var xml = Self.head + "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
    xml += "<Name>\(bucket)</Name><Prefix>\(text(prefix))</Prefix><MaxKeys>\(limit)</MaxKeys>"
    xml += "<KeyCount>\(page.objects.count + page.prefixes.count)</KeyCount>"
    if !delimiter.isEmpty { xml += "<Delimiter>\(delimiter)</Delimiter>" }
    if isEncoded { xml += "<EncodingType>url</EncodingType>" }
    xml += "<IsTruncated>\(page.next != nil)</IsTruncated>"
    if let next = page.next {
      xml +=
        isV2
        ? "<NextContinuationToken>\(Self.encoded(next))</NextContinuationToken>"
        : "<NextMarker>\(text(next))</NextMarker>"
    }
    for (key, entry) in page.objects {
      xml += "<Contents><Key>\(text(key))</Key>"
      xml += "<LastModified>\(Dates.iso(entry.modified))</LastModified>"
      xml += "<ETag>\(Self.escaped(entry.etag))</ETag><Size>\(entry.size)</Size>"
      xml += "<StorageClass>STANDARD</StorageClass></Contents>"
    }
    for prefix in page.prefixes {
      xml += "<CommonPrefixes><Prefix>\(text(prefix))</Prefix></CommonPrefixes>"
    }
    return xml + "</ListBucketResult>"
  }

  static func buckets(_ names: [String]) -> String {
    let list = names.map {
      "<Bucket><Name>\($0)</Name><CreationDate>\(Dates.iso(0))</CreationDate></Bucket>"
    }
    return head + "<ListAllMyBucketsResult><Owner><ID>link</ID></Owner><Buckets>\(list.joined())"
      + "</Buckets></ListAllMyBucketsResult>"
  }

  private func text(_ key: [UInt8]) -> String {
    isEncoded ? Self.encoded(key) : Self.escaped(String(decoding: key, as: UTF8.self))
  }

  private static func encoded(_ key: [UInt8]) -> String {
    let digits = Array("0123456789ABCDEF".utf8)
    var bytes: [UInt8] = []
    for byte in key {
      switch byte {
      case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x2d, 0x2e, 0x2f, 0x5f, 0x7e: bytes.append(byte)
      default: bytes += [0x25, digits[Int(byte >> 4)], digits[Int(byte & 15)]]
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  private static func escaped(_ text: String) -> String {
    var result = ""
    for character in text.unicodeScalars {
      switch character {
      case "&": result += "&amp;"
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "\"": result += "&quot;"
      case "\r": result += "&#13;"
      default: result.unicodeScalars.append(character)
      }
    }
    return result
  }
}

enum Dates {
  static func http(_ seconds: Int) -> String { format(seconds, "%a, %d %b %Y %H:%M:%S GMT") }
  static func iso(_ seconds: Int) -> String { format(seconds, "%Y-%m-%dT%H:%M:%S.000Z") }

  private static func format(_ seconds: Int, _ pattern: String) -> String {
    var time = time_t(seconds)
    var parts = tm()
    gmtime_r(&time, &parts)
    var buffer = [CChar](repeating: 0, count: 64)
    let count = strftime(&buffer, buffer.count, pattern, &parts)
    return String(decoding: buffer.prefix(count).map(UInt8.init(bitPattern:)), as: UTF8.self)
  }
}
