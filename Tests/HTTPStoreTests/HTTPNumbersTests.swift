import Formats
import ObjectStore
import TestSupport
import Testing

@testable import HTTPStore

/// Sizes and times that it is told, through each of its parsers.
@Suite struct HTTPNumbersTests {
  private static func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

  /// A page in which a source states the size of `d/big`, beside another object.
  typealias Source = @Sendable (_ size: String) throws -> ListPage

  static let sources: [String: Source] = [
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
    #expect(try StatedSizes.complaints(Self.sources[source]!) == [])
  }

  /// A list is a promise: what cannot be true is refused with its line.
  @Test(arguments: ["csv", "json"])
  func aManifestOfASiteStatesSizesThatCanBeReadOrIsRefused(form: String) throws {
    func manifest(_ size: String) throws(ManifestLines.Malformed) -> HTTPManifest {
      try HTTPManifest(
        parsing: Self.bytes(
          form == "csv" ? "path,size\na,\(size)\n" : "{\"path\":\"a\",\"size\":\"\(size)\"}\n"))
    }
    for size in StatedSizes.readable {
      #expect(try manifest("\(size)").attributes(of: ObjectKey("a"))?.size == size)
    }
    for size in StatedSizes.tooLarge + StatedSizes.unreadable where size != "" {
      #expect(throws: ManifestLines.Malformed.self, "\(size)") { try manifest(size) }
    }
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
