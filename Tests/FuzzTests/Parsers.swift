import Credentials
import Formats
import ObjectStore

@testable import Credentials
@testable import HTTPStore
@testable import S3Store
@testable import Transport

/// Everything that reads what a stranger wrote, each as one function of bytes: what the fuzzer runs and what
/// the corpus is run through. None may crash, hang, or take memory out of proportion.
enum Parsers {
  static let all: [(name: String, run: @Sendable ([UInt8]) -> Void)] =
    [
      ("list-objects", { _ = try? S3Listing($0).page.isEmpty }),
      ("list-versions", listVersions), ("s3-error", s3Error), ("index", index),
      ("manifest", { _ = try? HTTPManifest(parsing: $0) }), ("head", head),
      ("aws-files", { _ = try? ProfileFile(text($0)) }), ("netrc", { _ = try? Netrc(text($0)) }),
      ("keys-json", keysJSON), ("hub", hub), ("headers", headers),
    ] + ofFiles + ofRequests

  private static func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

  @Sendable private static func listVersions(_ bytes: [UInt8]) {
    guard let listing = try? S3VersionListing(bytes) else { return }
    let (_, next) = listing.page(at: 1_700_000_000, from: nil)
    // Where it goes on survives the way through a cursor.
    if let next { precondition(S3VersionListing.Place(token: next.token) == next) }
    _ = listing.page(at: 0, from: next)
  }

  @Sendable private static func s3Error(_ bytes: [UInt8]) {
    let failure = S3Failure(HTTPResponseHead(status: 403, headers: []), body: bytes)
    precondition(failure.words.utf8.count < 4096)
    _ = S3Reaction.to(
      failure, subject: .listing, isSigned: true, region: "us-east-1", isAWS: true)
  }

  @Sendable private static func index(_ bytes: [UInt8]) {
    guard let (folder, _) = try? HTTPURL.parse("http://h/a%20b/") else { return }
    for type in ["application/json", "text/html"] {
      guard let index = try? HTTPIndex.parse(bytes, contentType: type, folder: folder) else {
        continue
      }
      for entry in index.entries { precondition(ObjectName.isSegment(entry.name)) }
      _ = index.page(of: ObjectKey("d/"))
    }
  }

  /// Lines as libcurl hands them over.
  @Sendable private static func head(_ bytes: [UInt8]) {
    var parser = HeadParser()
    var start = 0
    while start < bytes.count {
      let end = bytes[start...].firstIndex(of: 10).map { $0 + 1 } ?? bytes.count
      let step = bytes[start..<end].withUnsafeBytes { parser.append($0) }
      if case .complete(let head) = step {
        for (name, value) in head.headers {
          precondition(!name.isEmpty && !value.utf8.contains(10))
        }
      }
      start = end
    }
  }

  @Sendable private static func keysJSON(_ bytes: [UInt8]) {
    if let value = try? JSONValue(bytes) {
      precondition((try? JSONValue(Array(value.json.utf8))) == value)
    }
    if let keys = try? ServiceKeys.read(bytes, source: "fuzz") {
      precondition(keys.secretAccessKey.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F })
    }
    _ = XMLTexts(bytes)["AccessKeyId"]
    _ = UTCTime.zoned(text(bytes))
  }

  @Sendable private static func hub(_ bytes: [UInt8]) {
    _ = try? HubTree.commit(bytes)
    _ = HubTree.next(text(bytes))
    _ = HubAddress("hf://" + text(bytes))
    guard let (listing, _) = try? HTTPURL.parse("http://h/api/tree/x/") else { return }
    let folder = ObjectKey("data/")
    if let page = try? HubTree(listing: listing, modified: nil).page(bytes, of: folder) {
      for object in page.objects { precondition(object.key.hasPrefix(folder)) }
    }
  }

  @Sendable private static func headers(_ bytes: [UInt8]) {
    let line = text(bytes)
    if let range = ContentRange(line) { precondition(!range.range.isEmpty) }
    _ = UTCTime.http(line)
    _ = UTCTime.iso8601(line)
    _ = UTCTime.zoned(line)
    _ = UTCTime.listed(line)
    _ = S3Failure.retryAfter(HTTPResponseHead(status: 503, headers: [("retry-after", line)]))
    _ = StoreChecksum(
      HTTPResponseHead(
        status: 200, headers: [("x-amz-checksum-crc32c", line), ("etag", line)]), takesETag: true)
    _ = ListCursor(line)?.next("x")?.text
    _ = try? BucketARN(line)
    _ = BucketAddress.parse(line)
    if let (url, _) = try? HTTPURL.parse(line) { _ = try? url.resolve("../x") }
    _ = VersionTag(line).text
    _ = Base64.decode(line)
  }
}
