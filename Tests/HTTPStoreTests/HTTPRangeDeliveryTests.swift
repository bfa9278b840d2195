import ObjectStore
import Posix
import TestSupport
import Testing
import Transport

@testable import HTTPStore

@Suite struct HTTPRangeDeliveryTests {
  private let modified: Int64 = 1_445_412_480
  private let date = "Wed, 21 Oct 2015 07:28:00 GMT"

  private func delivery(
    etag: String = "", _ range: Range<UInt64> = 10..<20, comparesTime: Bool = true
  ) -> HTTPRangeDelivery {
    HTTPRangeDelivery(
      version: ObjectVersion(key: ObjectKey("k"), etag: etag, size: 100, modified: modified),
      range: range, comparesTime: comparesTime)
  }

  private func head(_ status: Int, _ headers: (String, String)...) -> HTTPResponseHead {
    HTTPResponseHead(status: status, headers: headers.map { (name: $0.0, value: $0.1) })
  }

  private func refusal(
    _ delivery: HTTPRangeDelivery, _ head: HTTPResponseHead
  ) -> HTTPRangeDelivery.Refusal? {
    var delivery = delivery
    do throws(HTTPRangeDelivery.Refusal) { try delivery.accept(head) } catch { return error }
    return nil
  }

  private func isChanged(_ delivery: HTTPRangeDelivery, _ head: HTTPResponseHead) -> Bool {
    if case .changed = refusal(delivery, head) { true } else { false }
  }

  private func isBad(_ delivery: HTTPRangeDelivery, _ head: HTTPResponseHead) -> Bool {
    if case .badReply = refusal(delivery, head) { true } else { false }
  }

  @Test func rangeIsAskedForWithItsStrongETag() {
    #expect(
      delivery(etag: "\"e\"").requestHeaders.map { "\($0.name): \($0.value)" }
        == ["Range: bytes=10-19", "If-Range: \"e\""])
    #expect(delivery().requestHeaders.map(\.name) == ["Range"])
    #expect(delivery(etag: "sha256:00").requestHeaders.map(\.name) == ["Range"])
  }

  @Test func lengthTimeAndETagAreCompared() {
    let good = ("content-range", "bytes 10-19/100")
    #expect(refusal(delivery(), head(206, good)) == nil)
    #expect(refusal(delivery(), head(206, good, ("last-modified", date))) == nil)
    #expect(isChanged(delivery(), head(206, ("content-range", "bytes 10-19/101"))))
    let later = ("last-modified", "Wed, 21 Oct 2015 07:28:01 GMT")
    #expect(isChanged(delivery(), head(206, good, later)))
    #expect(refusal(delivery(comparesTime: false), head(206, good, later)) == nil)
    #expect(isChanged(delivery(etag: "\"e\""), head(206, good, ("etag", "\"f\""))))
    #expect(refusal(delivery(etag: "\"e\""), head(206, good, ("etag", "W/\"e\""))) == nil)
    // A manifest's hash is nothing that a server knows.
    #expect(refusal(delivery(etag: "sha256:1"), head(206, good, ("etag", "\"f\""))) == nil)
  }

  @Test func repliesThatWereNotAskedForAreBad() {
    #expect(isBad(delivery(), head(206)))
    #expect(isBad(delivery(), head(206, ("content-range", "bytes 0-9/100"))))
    #expect(isBad(delivery(), head(206, ("content-range", "bytes 10-20/100"))))
    #expect(isBad(delivery(), head(206, ("content-range", "bytes */100"))))
    #expect(isBad(delivery(), head(200, ("content-encoding", "gzip"))))
    #expect(refusal(delivery(), head(206, ("content-range", "bytes 10-14/*"))) == nil)
  }

  @Test func wholeFileIsCutToTheRange() throws {
    var delivery = delivery()
    try delivery.accept(head(200, ("content-length", "100")))
    #expect(delivery.ignoresRanges)
    #expect(delivery.take(4) == 4..<4)
    #expect(delivery.take(8) == 6..<8)
    #expect(delivery.take(50) == 0..<8)
    #expect(delivery.isComplete)
  }

  @Test func aReplyWithoutTheETagThatIsKnownIsABadReply() throws {
    let good = ("content-range", "bytes 10-19/100")
    #expect(isBad(delivery(etag: "\"e\""), head(206, good, ("last-modified", date))))
    let learnt = HTTPRangeDelivery(
      version: ObjectVersion(key: ObjectKey("k"), etag: "", size: 100, modified: modified),
      range: 10..<20, comparesTime: true, learnt: "\"e\"")
    #expect(learnt.requestHeaders.contains { $0 == (name: "If-Range", value: "\"e\"") })
    #expect(isBad(learnt, head(206, good)))
    #expect(isChanged(learnt, head(206, good, ("etag", "\"f\""))))
    #expect(refusal(learnt, head(206, good, ("etag", "\"e\""))) == nil)
  }

  @Test func theFirstETagIsKept() {
    let learnt = LearntETag()
    #expect(learnt.value == nil)
    #expect(learnt.keep("\"a\"") == "\"a\"")
    #expect(learnt.keep("\"b\"") == "\"a\"")
  }

  @Test func firstETagBindsTheRestOfTheFetch() throws {
    var delivery = delivery()
    try delivery.accept(
      head(206, ("content-range", "bytes 10-19/100"), ("etag", "\"e\"")))
    _ = delivery.take(4)
    #expect(
      delivery.requestHeaders.map { "\($0.name): \($0.value)" }
        == ["Range: bytes=14-19", "If-Range: \"e\""])
    #expect(
      isChanged(delivery, head(206, ("content-range", "bytes 14-19/100"), ("etag", "\"f\""))))
  }

  /// Whatever the server does (ranges or not, broken off anywhere, any chunks): the bytes handed on
  /// are the range's, in order, each once.
  @Test func deliveredBytesAreTheRangeWhateverTheServerDoes() throws {
    for seed in 0..<5_000 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      let low = UInt64.random(in: 0..<100, using: &random)
      let high = UInt64.random(in: (low + 1)...100, using: &random)
      var delivery = delivery(low..<high)
      var got: [UInt64] = []
      while !delivery.isComplete {
        let whole = Bool.random(using: &random)
        let start = whole ? 0 : delivery.position
        let end = whole ? 100 : UInt64.random(in: (start + 1)...high, using: &random)
        try delivery.accept(
          whole
            ? head(200, ("content-length", "100"))
            : head(206, ("content-range", "bytes \(start)-\(end - 1)/100")))
        var sent = start
        while sent < end, Int.random(in: 0..<8, using: &random) > 0 {
          let count = Int.random(in: 1...Int(end - sent), using: &random)
          let taken = delivery.take(count)
          got += taken.map { sent + UInt64($0) }
          sent += UInt64(count)
        }
      }
      #expect(got == Array(low..<high), "seed \(seed)")
    }
  }
}
