import Credentials
import Formats
import Metrics
import ObjectStore
import Posix
import TestSupport
import Testing
import Transport

@testable import S3Store

/// What stores say of contents, and what a fetch makes of it.
@Suite struct S3ChecksumTests {
  private func head(_ headers: [(name: String, value: String)]) -> HTTPResponseHead {
    HTTPResponseHead(status: 200, headers: headers)
  }

  @Test func onlyWhatIsOfTheWholeObjectCounts() {
    #expect(
      StoreChecksum(head([("x-amz-checksum-crc32", "y/Q5Jg==")]), takesETag: false)?.algorithm
        == .crc32)
    let composite = head([
      ("x-amz-checksum-crc32", "y/Q5Jg=="), ("x-amz-checksum-type", "COMPOSITE"),
    ])
    #expect(StoreChecksum(composite, takesETag: false) == nil)
    for value in ["y/Q5Jg==-7", "y/Q5", "", "y/Q5Jg=", "y/Q5J===", "!!!!!!=="] {
      #expect(StoreChecksum(head([("x-amz-checksum-crc32", value)]), takesETag: false) == nil)
    }
    let md5 = ("etag", "\"25f9e794323b453885f5181f1b624d0b\"")
    #expect(StoreChecksum(head([md5]), takesETag: false) == nil)
    #expect(StoreChecksum(head([md5]), takesETag: true)?.algorithm == .md5)
    for encryption in [
      ("x-amz-server-side-encryption", "aws:kms"),
      ("x-amz-server-side-encryption-customer-algorithm", "AES256"),
    ] {
      #expect(StoreChecksum(head([md5, encryption]), takesETag: true) == nil)
    }
    let parts = head([("etag", "\"25f9e794323b453885f5181f1b624d0b-3\"")])
    #expect(StoreChecksum(parts, takesETag: true) == nil)
  }

  // MARK: The exchange

  private final class Sink: FetchSink {
    struct Told {
      var bytes: [UInt8] = []
      var beginnings = 0
    }
    let told = Lock(Told())
    var isAwaited: Bool { true }
    func waitedForLimit(_ time: Duration) {}
    func beginVerified() {
      told.withLock {
        $0.bytes = []
        $0.beginnings += 1
      }
    }
    func receive(_ received: UnsafeRawBufferPointer) { told.withLock { $0.bytes += received } }
    func finish(_ result: Result<Void, StoreError>) {}
  }

  private struct Rig {
    let metrics = Metrics()
    let sink = Sink()
    let exchange: S3FetchExchange

    init() throws {
      let version = ObjectVersion(key: ObjectKey("k"), etag: "\"e\"", size: 9, modified: 0)
      exchange = S3FetchExchange(
        FetchRequest(version: version, range: 0..<9, deadline: .distantFuture),
        site: try S3Site(options: S3Options(bucket: "data"), credentials: FixedCredentials(nil)),
        metrics: metrics.store, sink: sink)
    }

    /// One attempt that is answered with `text`.
    func answer(_ text: String) throws -> Verdict {
      let request = try exchange.nextRequest(attempt: 0).get()
      #expect(!request.headers.contains { $0.name == "range" })
      #expect(request.headers.contains { $0.name == "x-amz-checksum-mode" })
      let head = HTTPResponseHead(
        status: 200,
        headers: [
          ("etag", "\"e\""), ("content-length", "9"), ("x-amz-checksum-crc32", "y/Q5Jg=="),
        ])
      guard case .stream = exchange.receive(head: head) else { return .again }
      #expect(Array(text.utf8).withUnsafeBytes { exchange.receive(body: $0) })
      return exchange.attemptEnded(.response(head, body: []))
    }
  }

  @Test func aMismatchIsFetchedOnceMore() throws {
    let rig = try Rig()
    guard case .retry(let cause, _, _) = try rig.answer("12345678X") else {
      return #expect(Bool(false))
    }
    #expect(cause.description.contains("crc32"))
    guard case .succeeded = try rig.answer("123456789") else { return #expect(Bool(false)) }
    #expect(rig.sink.told.withLock { $0.bytes } == Array("123456789".utf8))
    #expect(rig.sink.told.withLock { $0.beginnings } == 2)
    #expect(rig.metrics.store.checksumMismatches.count == 1)
  }

  @Test func aSecondMismatchIsAnError() throws {
    let rig = try Rig()
    _ = try rig.answer("12345678X")
    guard case .failed(let error) = try rig.answer("X23456789") else {
      return #expect(Bool(false))
    }
    #expect(error.kind == .badReply)
  }
}
