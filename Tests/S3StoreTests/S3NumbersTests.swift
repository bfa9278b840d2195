import ObjectStore
import TestSupport
import Testing
import Transport

@testable import S3Store

/// Sizes and times that it is told, through each of its parsers.
@Suite struct S3NumbersTests {
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
  ]

  @Test(arguments: sources.keys.sorted())
  func aListingsSizesAreExactLeftOutOrUnknown(source: String) throws {
    #expect(try StatedSizes.complaints(Self.sources[source]!) == [])
  }

  @Test func aHeadsSizeIsExactMarkedOrMissing() {
    func head(_ size: String) -> ObjectAttributes? {
      S3HeadExchange.attributes(
        ObjectKey("k"), HTTPResponseHead(status: 200, headers: [("content-length", size)]))
    }
    for size in StatedSizes.readable {
      #expect(head("\(size)")?.size == size && head("\(size)")?.isOversized == false)
    }
    for size in StatedSizes.tooLarge {
      #expect(head(size)?.isOversized == true, "\(size)")
      #expect(head(size)?.version == nil)
    }
    for size in StatedSizes.unreadable { #expect(head(size) == nil, "\(size)") }
  }
}
