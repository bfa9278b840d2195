import Credentials
import Metrics
import ObjectStore
import Posix
import Testing
import Transport

@testable import S3Store

/// The exchanges alone, driven as the transport drives them.
@Suite struct S3ExchangeTests {
  private final class Sink: FetchSink {
    let bytes = Lock<[UInt8]>([])
    var isAwaited: Bool { true }
    func waitedForLimit(_ time: Duration) {}
    func beginVerified() { bytes.withLock { $0 = [] } }
    func receive(_ received: UnsafeRawBufferPointer) { bytes.withLock { $0 += received } }
    func finish(_ result: Result<Void, StoreError>) {}
  }

  private let metrics = Metrics()
  private let version = ObjectVersion(key: ObjectKey("k"), etag: "\"e\"", size: 100, modified: 0)

  private func site() throws -> S3Site {
    try S3Site(options: S3Options(bucket: "data"), credentials: FixedCredentials(nil))
  }

  private func head(_ range: String, _ length: Int) -> HTTPResponseHead {
    HTTPResponseHead(
      status: 206,
      headers: [
        ("etag", "\"e\""), ("content-range", "bytes \(range)/100"),
        ("content-length", String(length)),
      ])
  }

  private func send(_ bytes: [UInt8], to exchange: S3FetchExchange) -> Bool {
    bytes.withUnsafeBytes { exchange.receive(body: $0) }
  }

  /// Credentials that are being renewed, until `keys` are there.
  private final class Renewing: CredentialsProvider {
    let signal = ReadinessSignal()
    let keys = Lock<Credentials?>(nil)
    func current() throws(StoreError) -> CredentialsNow {
      keys.withLock { $0 }.map { .keys($0) } ?? .renewing("the source", signal)
    }
    func renew(insteadOf refused: Credentials) -> Bool { true }
    func shutdown() {}
  }

  @Test func exchangesWaitForTheSignalOfTheirCredentialsAndCountNoRequestMeanwhile() throws {
    let provider = Renewing()
    let site = try S3Site(options: S3Options(bucket: "data"), credentials: provider)
    let folder = ObjectKey("d/")
    let exchanges: [(exchange: any Exchange, key: ObjectKey)] = [
      (
        S3FetchExchange(
          FetchRequest(version: version, range: 0..<9, deadline: .distantFuture), site: site,
          metrics: metrics.store, sink: Sink()), version.key
      ),
      (
        S3HeadExchange(ObjectKey("h"), site: site, metrics: metrics.store, completion: { _ in }),
        ObjectKey("h")
      ),
      (
        S3ListExchange(
          ListRequest(folder: folder, deadline: .distantFuture),
          options: S3Options(bucket: "data"), site: site, metrics: metrics.store,
          completion: { _ in }), folder
      ),
    ]
    for (exchange, key) in exchanges {
      guard case .waiting(let signal, let cause) = exchange.nextRequest(attempt: 0) else {
        return #expect(Bool(false), "\(key)")
      }
      #expect(signal == provider.signal && cause.key == key && cause.kind == .badCredentials)
      #expect(cause.detail == "waiting for credentials: the source")
    }
    let counts = metrics.store
    #expect(
      counts.getRequests.count + counts.headRequests.count + counts.listRequests.count == 0)
    provider.keys.withLock {
      $0 = Credentials(accessKeyID: "AKID", secretAccessKey: "s", source: "test")
    }
    for (exchange, _) in exchanges {
      let request = try exchange.nextRequest(attempt: 0).get()
      #expect(request.headers.contains { $0.name == "authorization" && $0.value.contains("AKID") })
    }
    #expect(
      counts.getRequests.count + counts.headRequests.count + counts.listRequests.count == 3)
  }

  @Test func aBrokenTransferGoesOnWhereItStoppedAndRepeatsNothing() throws {
    let sink = Sink()
    let request = FetchRequest(version: version, range: 10..<20, deadline: .distantFuture)
    let exchange = S3FetchExchange(request, site: try site(), metrics: metrics.store, sink: sink)
    _ = try exchange.nextRequest(attempt: 0).get()
    guard case .stream = exchange.receive(head: head("10-19", 10)) else {
      return #expect(Bool(false))
    }
    #expect(send([0, 1, 2], to: exchange))
    let lost = TransferFailure(.connectionLost, detail: "reset")
    guard case .retry = exchange.attemptEnded(.transferFailed(lost, wasStreaming: true)) else {
      return #expect(Bool(false))
    }
    let again = try exchange.nextRequest(attempt: 1).get()
    #expect(again.headers.contains { $0.name == "range" && $0.value == "bytes=13-19" })
    guard case .stream = exchange.receive(head: head("13-19", 7)) else {
      return #expect(Bool(false))
    }
    #expect(send([3, 4, 5, 6, 7, 8, 9], to: exchange))
    guard case .succeeded = exchange.attemptEnded(.response(head("13-19", 7), body: [])) else {
      return #expect(Bool(false))
    }
    #expect(sink.bytes.withLock { $0 } == Array(0..<10))
    #expect(metrics.store.getRequests.count == 2)
  }

  @Test func moreBytesThanAskedForAreNotHandedOn() throws {
    let sink = Sink()
    let request = FetchRequest(version: version, range: 10..<12, deadline: .distantFuture)
    let exchange = S3FetchExchange(request, site: try site(), metrics: metrics.store, sink: sink)
    _ = try exchange.nextRequest(attempt: 0).get()
    _ = exchange.receive(head: head("10-11", 2))
    #expect(!send([1, 2, 3], to: exchange))
    // It may be one server's: it is asked again, but not for ever.
    for attempt in 0..<5 {
      let verdict = exchange.attemptEnded(.rejected(head("10-11", 2)))
      switch verdict {
      case .retry(let error, _, _) where attempt < 4: #expect(error.kind == .badReply)
      case .failed(let error) where attempt == 4: #expect(error.kind == .badReply)
      default: Issue.record("\(verdict) at attempt \(attempt)")
      }
    }
    #expect(sink.bytes.withLock { $0.isEmpty })
  }

  /// The verdict on the answer, and what the caller is told where that is success.
  private func listed(
    _ body: String, cursor: String? = nil
  ) throws -> (verdict: Verdict, result: Result<ListPage, StoreError>?) {
    let told = Lock<Result<ListPage, StoreError>?>(nil)
    let request = ListRequest(folder: ObjectKey("d/"), cursor: cursor, deadline: .distantFuture)
    let exchange = S3ListExchange(
      request, options: S3Options(bucket: "data"), site: try site(), metrics: metrics.store
    ) { result in told.withLock { $0 = result } }
    _ = try exchange.nextRequest(attempt: 0).get()
    let head = HTTPResponseHead(status: 200, headers: [])
    let verdict = exchange.attemptEnded(.response(head, body: CollectedBody(Array(body.utf8))))
    if case .succeeded = verdict { exchange.finish(.success(())) }
    return (verdict, told.withLock { $0 })
  }

  @Test func anErrorAfterA200IsAnError() throws {
    let verdict = try listed("<Error><Code>SlowDown</Code><Message>x</Message></Error>")
    guard case .retry(_, true, _) = verdict.verdict else {
      return #expect(Bool(false), "\(verdict)")
    }
  }

  @Test(arguments: [
    "<Contents><Key>other/x</Key></Contents>", "<Contents><Key>d/e/f</Key></Contents>",
    "<CommonPrefixes><Prefix>d/e/f/</Prefix></CommonPrefixes>",
    "<CommonPrefixes><Prefix>d/</Prefix></CommonPrefixes>", "<IsTruncated>true</IsTruncated>",
  ])
  func listingsThatCannotBeRightAreRefused(inside: String) throws {
    let answer = try listed("<ListBucketResult>\(inside)</ListBucketResult>")
    guard case .failure(let error)? = answer.result else {
      return #expect(Bool(false), "\(answer)")
    }
    #expect(error.kind == .badReply)
  }

  @Test func aContinuationTokenThatComesTwiceIsAnError() throws {
    let page =
      "<ListBucketResult><IsTruncated>true</IsTruncated>"
      + "<NextContinuationToken>t</NextContinuationToken></ListBucketResult>"
    guard case .success? = try listed(page).result else { return #expect(Bool(false)) }
    let again = try listed(page, cursor: ListCursor(first: "t").text)
    guard case .failure(let error)? = again.result else { return #expect(Bool(false)) }
    #expect(error.detail.contains("repeated"))
  }
}
