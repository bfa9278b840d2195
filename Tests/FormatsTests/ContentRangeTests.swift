import Formats
import ObjectStore
import Posix
import TestSupport
import Testing

@Suite struct ContentRangeTests {
  @Test(arguments: [
    "", "bytes", "bytes 1-0/5", "bytes 0-5/5", "bytes 0-1/-5", "bytes -1/5", "items 0-1/5",
  ])
  func contentRangesThatAreNoneAreRefused(text: String) {
    #expect(ContentRange(text) == nil)
  }

  @Test func contentRangeOfHostileServers() {
    #expect(ContentRange("bytes 0-0/1")?.range == 0..<1)
    #expect(ContentRange("Bytes 5-9/*")?.total == nil)
    for text in [
      "", "bytes", "bytes */0", "bytes 9-5/10", "bytes 0-10/10", "items 0-1/2", "bytes 0-1",
      "bytes 0-18446744073709551615/*", "bytes -1-2/3", "bytes 0-1/2/3", "bytes 0-1/x",
    ] {
      #expect(ContentRange(text) == nil, "\(text)")
    }
    var random = SeededGenerator(seed: 3)
    for _ in 0..<5_000 { _ = ContentRange("bytes " + random.text(of: "0123-*/ 9", upTo: 24)) }
  }

  /// The total that a range's answer states is that of its object, or none.
  @Test func aRangesNumbersAreNeverAddedPastTheirEnd() {
    for total in StatedSizes.readable where total > 0 {
      #expect(ContentRange("bytes 0-0/\(total)")?.total == total)
    }
    for total in StatedSizes.tooLarge {
      #expect(ContentRange("bytes 0-0/\(total)").map { $0.total! > ObjectSize.limit } == true)
      #expect(ContentRange("bytes 0-\(total)/*") == nil)
      #expect(ContentRange("bytes \(total)-\(total)/\(total)") == nil)
    }
    // A blank at the end of a header is no part of it.
    for total in StatedSizes.unreadable where !total.contains(" ") {
      #expect(ContentRange("bytes 0-0/\(total)") == nil, "\(total)")
    }
  }
}
