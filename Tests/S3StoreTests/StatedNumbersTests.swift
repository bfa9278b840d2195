import ObjectStore
import Posix
import TestSupport
import Testing
import Transport

@testable import Stores

/// Sizes that stores and lists state, through each parser: what can be read comes through exactly, what is larger
/// is marked and left out of pages, what is no number of bytes is not known.
@Suite struct StatedNumbersTests {
  static let readable: [UInt64] = [
    0, 1, 1 << 31, 1 << 32, 53_660_000_000_000, 1 << 53 - 1, 1 << 53,
  ]
  static let tooLarge = [
    "9007199254740993", "144115188075855872", "4611686018427387904", "9223372036854775807",
    "9223372036854775808", "18446744073709420543", "18446744073709551615", "18446744073709551616",
    String(repeating: "9", count: 400),
  ]
  static let unreadable = [
    "-1", "-9223372036854775808", "", "1e3", "0x10", "12 ", "1.5", "+5", "ten",
  ]

  private static func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

  /// A page in which a source states the size of `d/big`, beside another object.
  typealias Source = @Sendable (_ size: String) throws -> ListPage

  static let sources: [String: Source] = [
    "S3 listing": { size in
      try S3Listing(
        bytes(
          "<ListBucketResult><Contents><Key>d/big</Key><Size>\(size)</Size></Contents>"
            + "<Contents><Key>d/other</Key><Size>5</Size></Contents></ListBucketResult>")
      ).page
    },
    "S3 versions": { size in
      try S3VersionListing(
        bytes(
          "<ListVersionsResult><Version><Key>d/big</Key><Size>\(size)</Size><LastModified>"
            + "2026-11-23T11:15:00.000Z</LastModified></Version><Version><Key>d/other</Key><Size>5"
            + "</Size><LastModified>2026-11-23T11:15:00.000Z</LastModified></Version>"
            + "</ListVersionsResult>")
      ).page(at: .max - 1, from: nil).page
    },
    "nginx index": { size in
      try HTTPIndex.parseJSON(
        bytes(
          "[{\"name\":\"big\",\"type\":\"file\",\"size\":\"\(size)\"},"
            + "{\"name\":\"other\",\"type\":\"file\",\"size\":5}]")
      ).page(of: ObjectKey("d/"))
    },
    "hub tree": { size in
      let tree = HubTree(
        listing: try HTTPURL.parse("https://hub.example/tree/").url, modified: nil)
      return try tree.page(
        bytes(
          "[{\"path\":\"d/big\",\"type\":\"file\",\"oid\":\"a\",\"size\":\"\(size)\"},"
            + "{\"path\":\"d/other\",\"type\":\"file\",\"oid\":\"b\",\"size\":5}]"),
        of: ObjectKey("d/"))
    },
  ]

  @Test(arguments: sources.keys.sorted())
  func aListingsSizesAreExactLeftOutOrUnknown(source: String) throws {
    let page = Self.sources[source]!
    for size in Self.readable {
      let found = try page("\(size)")
      #expect(found.objects.map(\.size) == [size, 5], "\(source): \(size)")
      #expect(found.oversized == 0)
    }
    for size in Self.tooLarge {
      let found = try page(size)
      #expect(found.objects.map(\.key) == [ObjectKey("d/other")], "\(source): \(size)")
      #expect(found.oversized == 1 && found.folderExists, "\(source): \(size)")
    }
    for size in Self.unreadable {
      let found = try page(size)
      #expect(found.objects.map(\.size) == [nil, 5], "\(source): \(size)")
      #expect(found.oversized == 0)
    }
  }

  @Test func aHeadsSizeIsExactMarkedOrMissing() {
    func head(_ size: String) -> ObjectAttributes? {
      S3HeadExchange.attributes(
        ObjectKey("k"), HTTPResponseHead(status: 200, headers: [("content-length", size)]))
    }
    for size in Self.readable {
      #expect(head("\(size)")?.size == size && head("\(size)")?.isOversized == false)
    }
    for size in Self.tooLarge {
      #expect(head(size)?.isOversized == true, "\(size)")
      #expect(head(size)?.version == nil)
    }
    for size in Self.unreadable { #expect(head(size) == nil, "\(size)") }
  }

  /// The total that a range's answer states is that of its object, or none.
  @Test func aRangesNumbersAreNeverAddedPastTheirEnd() {
    for total in Self.readable where total > 0 {
      #expect(HTTPContentRange("bytes 0-0/\(total)")?.total == total)
      #expect(ContentRange("bytes 0-0/\(total)")?.total == total)
    }
    for total in Self.tooLarge {
      #expect(HTTPContentRange("bytes 0-0/\(total)").map { $0.total! > ObjectSize.limit } == true)
      #expect(HTTPContentRange("bytes 0-\(total)/*") == nil)
      #expect(HTTPContentRange("bytes \(total)-\(total)/\(total)") == nil)
      #expect(ContentRange("bytes \(total)-\(total)/\(total)") == nil)
    }
    // A blank at the end of a header is no part of it.
    for total in Self.unreadable where !total.contains(" ") {
      #expect(HTTPContentRange("bytes 0-0/\(total)") == nil, "\(total)")
      #expect(ContentRange("bytes 0-0/\(total)") == nil, "\(total)")
    }
  }

  /// A list is a promise: what cannot be true is refused with its line.
  @Test(arguments: ["csv", "json"])
  func aManifestStatesSizesThatCanBeReadOrIsRefused(form: String) throws {
    let folder = try TemporaryFolder("numbers")
    func text(_ size: String) -> String {
      form == "csv" ? "path,size\na,\(size)\n" : "{\"path\":\"a\",\"size\":\"\(size)\"}\n"
    }
    func sizes(_ size: String) throws -> [UInt64?] {
      let site = try HTTPManifest(parsing: Self.bytes(text(size)))
      let path = try folder.file("manifest", text: text(size))
      let catalog = try ManifestReader.read(file: path, prefix: .root, quotesETags: false)
      return [site.attributes(of: ObjectKey("a"))?.size, catalog.attributes(0).size]
    }
    for size in Self.readable { #expect(try sizes("\(size)") == [size, size]) }
    for size in Self.tooLarge + Self.unreadable where size != "" {
      #expect(throws: HTTPManifest.Malformed.self, "\(size)") {
        try HTTPManifest(parsing: Self.bytes(text(size)))
      }
      let path = try folder.file("manifest", text: text(size))
      #expect(throws: StoreError.self, "\(size)") {
        try ManifestReader.read(file: path, prefix: .root, quotesETags: false)
      }
    }
  }

  @Test func aSumOfManySizesIsTheLargestNumberAtMost() throws {
    var builder = CatalogBuilder()
    for index in 0..<3000 {
      builder.add(
        ObjectAttributes(key: ObjectKey("\(index)"), size: ObjectSize.limit, modified: nil))
    }
    #expect(try Catalog(builder).totalBytes == .max)
  }

  @Test(arguments: [Int64.min, Int64.max, -62_135_596_801, 253_402_300_800])
  func aTimeThatIsNoDateIsNotKnown(seconds: Int64) throws {
    let object = ObjectAttributes(key: ObjectKey("a"), size: 1, modified: seconds)
    #expect(object.modified == nil)
    let index = try HTTPIndex.parseJSON(
      Self.bytes("[{\"name\":\"a\",\"type\":\"file\",\"size\":1,\"mtime\":\"\(seconds)\"}]"))
    #expect(index.page(of: .root).objects.first?.modified == nil)
    #expect(
      ObjectVersion(key: ObjectKey("a"), etag: "", size: .max, modified: 0).size == 1 << 53)
  }
}
