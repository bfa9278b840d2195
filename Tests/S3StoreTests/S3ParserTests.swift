import ObjectStore
import Posix
import TestSupport
import Testing
import Transport

@testable import S3Store

@Suite struct S3ParserTests {
  private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

  private static let page = """
    <?xml version="1.0" encoding="UTF-8"?>
    <ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name>
    <Prefix>a%2F</Prefix><KeyCount>3</KeyCount><MaxKeys>1000</MaxKeys><Delimiter>%2F</Delimiter>
    <IsTruncated>true</IsTruncated><NextContinuationToken>1ueG+/=&amp;x</NextContinuationToken>
    <Contents><Key>a/x+y%2Bz%25</Key><LastModified>2026-11-23T11:15:00.000Z</LastModified>
    <ETag>&quot;abc-2&quot;</ETag><Size>5497558138880</Size><Owner><ID>1</ID></Owner>
    <StorageClass>DEEP_ARCHIVE</StorageClass></Contents>
    <Contents><Key>a/%E2%82%AC</Key><ETag>plain</ETag><Size>0</Size></Contents>
    <CommonPrefixes><Prefix>a/d/</Prefix></CommonPrefixes>
    <EncodingType>url</EncodingType></ListBucketResult>
    """

  @Test func readsAPageOfVersion2() throws {
    let listing = try S3Listing(bytes(Self.page))
    #expect(
      listing.objects == [
        ObjectAttributes(
          key: ObjectKey("a/x y+z%"), size: 5_497_558_138_880, modified: 1_795_432_500,
          etag: "\"abc-2\"", isArchived: true),
        ObjectAttributes(key: ObjectKey("a/€"), size: 0, modified: nil, etag: "\"plain\""),
      ])
    #expect(listing.folders == [ObjectKey("a/d/")])
    #expect(listing.isTruncated)
    #expect(listing.nextToken == "1ueG+/=&x")
  }

  @Test func keysThatWereNotEncodedStayAsTheyAre() throws {
    let listing = try S3Listing(
      bytes(
        "<ListBucketResult><Contents><Key>a+b%41&lt;&#x26;&#228;<![CDATA[<&]]></Key></Contents>"
          + "<NextMarker>a+b</NextMarker></ListBucketResult>"))
    #expect(listing.objects.map(\.key) == [ObjectKey("a+b%41<&ä<&")])
    #expect(listing.nextMarker == ObjectKey("a+b"))
  }

  @Test(arguments: [
    "", "   ", "<", "<a", "<ListBucketResult>", "<ListBucketResult><Contents></ListBucketResult>",
    "<html><body>hello</body></html>", "<ListBucketResult>&bomb;</ListBucketResult>",
    "<!DOCTYPE x [<!ENTITY a \"b\">]><ListBucketResult/>", "<ListBucketResult/><ListBucketResult/>",
    "<ListBucketResult/>tail", "<ListBucketResult>&#xD800;</ListBucketResult>", "plain text",
    "<Error><Code>SlowDown</Code></Error>", "<ListBucketResult><!-- </ListBucketResult>",
  ])
  func whatIsNoListingIsRefused(text: String) {
    #expect(throws: S3Listing.Malformed.self) { try S3Listing(bytes(text)) }
  }

  @Test func nestingIsBounded() {
    let deep = String(repeating: "<a>", count: 100_000)
    #expect(throws: S3Listing.Malformed.self) {
      try S3Listing(bytes("<ListBucketResult>" + deep))
    }
  }

  @Test func everyTruncationOfAPageIsRefused() throws {
    let whole = bytes(Self.page)
    for length in 0..<whole.count {
      #expect(throws: S3Listing.Malformed.self) { try S3Listing(Array(whole[..<length])) }
    }
  }

  @Test func survivesGarbageByTheThousandSeeds() {
    let pieces = [
      "<", ">", "</", "/>", "<Contents>", "</Contents>", "<Key>", "</Key>", "&", "&amp;", "&#", ";",
      "<![CDATA[", "]]>", "<!--", "-->", "<?", "?>", "\"", "'", "%", "%4", "+", "\u{0}", "é",
      "<CommonPrefixes>", "<Prefix>", "<ListBucketResult>", "</ListBucketResult>", "=", ":", "x",
    ]
    let whole = bytes(Self.page)
    for seed in 0..<6_000 as Range<UInt64> {
      var generator = SeededGenerator(seed: seed)
      var input: [UInt8]
      if seed.isMultiple(of: 2) {
        input = whole
        for _ in 0..<Int.random(in: 1...6, using: &generator) {
          input[Int.random(in: 0..<input.count, using: &generator)] = .random(
            in: 0...255, using: &generator)
        }
      } else {
        input = bytes(
          "<ListBucketResult>"
            + (0..<Int.random(in: 0...60, using: &generator)).map { _ in
              pieces.randomElement(using: &generator)!
            }.joined())
      }
      let listing = try? S3Listing(input)
      let kept = (listing?.objects ?? []).reduce(0) { $0 + $1.key.bytes.count }
      #expect(kept <= input.count, "seed \(seed)")
      _ = S3Failure(HTTPResponseHead(status: 400, headers: []), body: input)
    }
  }

  @Test func readsErrorBodiesAndBoundsWhatTheyShow() {
    let head = HTTPResponseHead(
      status: 403, headers: [("date", "Mon, 23 Nov 2026 11:15:00 GMT"), ("retry-after", "9999")])
    let long = String(repeating: "x", count: 5_000)
    let failure = S3Failure(
      head,
      body: bytes(
        "<Error><Code>Bad\u{1B}[31m</Code><Message>\(long)</Message><Region>eu-x-1</Region>"
          + "<ServerTime>2020-01-01T00:00:00Z</ServerTime>"))
    #expect(failure.code == "Bad [31m")
    #expect(failure.message.count == 400)
    #expect(failure.region == "eu-x-1")
    #expect(failure.serverTime == 1_795_432_500)
    #expect(failure.retryAfter == .seconds(30))
  }

  @Test func aCircleOfTokensIsNoticedWhateverItsLength() throws {
    for length in 1...70 {
      for tail in [0, 1, 5, 33] {
        var cursor = ListCursor(first: "t0")
        var pages = 1
        while pages < 1_000 {
          let number = pages < tail ? pages : tail + (pages - tail) % length
          guard let next = cursor.next("t\(number)") else { break }
          cursor = try #require(ListCursor(next.text))
          pages += 1
        }
        #expect(pages < 4 * (length + tail) + 4, "length \(length), tail \(tail)")
      }
    }
  }

  @Test func tokensThatGoOnAreNotTakenForACircle() {
    var cursor = ListCursor(first: "0")
    for page in 1...20_000 { cursor = cursor.next("a.b.\(page)")! }
    #expect(ListCursor(cursor.text) == cursor)
  }
}
