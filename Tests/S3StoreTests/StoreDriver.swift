import Credentials
import Logging
import Metrics
import ObjectStore
import Posix
import TestSupport
import Transport

@testable import S3Store

/// An S3Store on a transport of its own, with calls that wait.
final class StoreDriver {
  let store: S3Store
  private let all = Metrics()
  var metrics: StoreMetrics { all.store }

  init(
    _ endpoint: TestSupport.S3Endpoint, bucket: String = "data", isAnonymous: Bool = false,
    usesListV1: Bool = false, encodesListings: Bool = true
  ) throws {
    var options = S3Options(
      bucket: bucket, endpointURL: endpoint.url, region: endpoint.region)
    options.usesListV1 = usesListV1
    options.encodesListings = encodesListings
    let keys = Credentials(
      accessKeyID: endpoint.accessKey, secretAccessKey: endpoint.secretKey, source: "test")
    let metrics = all.store
    store = try S3Store(
      options: options, credentials: FixedCredentials(isAnonymous ? nil : keys),
      transport: Transport(
        configuration: TransportConfiguration(), metrics: metrics, log: Logger(label: "test")),
      metrics: metrics)
  }

  deinit { store.shutdown() }

  private static var deadline: Instant { .now + .seconds(30) }

  private func wait<Value: Sendable>(
    _ start: (@escaping @Sendable (Result<Value, StoreError>) -> Void) -> Void
  ) throws(StoreError) -> Value {
    let answer = Monitor<Result<Value, StoreError>?>(nil)
    start { result in answer.signal { $0 = result } }
    guard let result = answer.wait(until: .now + .seconds(60), for: { $0 }) else {
      throw StoreError(.timedOut, store: "test", detail: "no completion within 60 s")
    }
    return try result.get()
  }

  func page(
    _ folder: ObjectKey = .root, cursor: String? = nil, limit: Int = 1000, failsFast: Bool = false
  ) throws(StoreError) -> ListPage {
    let request = ListRequest(
      folder: folder, cursor: cursor, limit: limit, deadline: Self.deadline, failsFast: failsFast)
    return try wait { store.list(request, completion: $0) }
  }

  /// Every page; at most 100.
  func list(_ folder: ObjectKey = .root, limit: Int = 1000) throws(StoreError) -> ListPage {
    var all = ListPage()
    for _ in 0..<100 {
      let page = try page(folder, cursor: all.next, limit: limit)
      all.append(page)
      if page.next == nil { return all }
    }
    return all
  }

  func head(_ key: ObjectKey) throws(StoreError) -> ObjectAttributes {
    try wait { store.head(key, deadline: Self.deadline, completion: $0) }
  }

  func read(_ version: ObjectVersion, _ range: Range<UInt64>) throws(StoreError) -> [UInt8] {
    let sink = CollectingSink()
    try wait { completion in
      sink.completion.withLock { $0 = completion }
      store.fetch(
        FetchRequest(version: version, range: range, deadline: Self.deadline), into: sink)
    }
    return sink.bytes.withLock { $0 }
  }

  func failure(_ body: () throws(StoreError) -> Void) -> StoreError? {
    do throws(StoreError) { try body() } catch { return error }
    return nil
  }
}

private final class CollectingSink: FetchSink {
  let bytes = Lock<[UInt8]>([])
  let completion = Lock<(@Sendable (Result<Void, StoreError>) -> Void)?>(nil)

  var isAwaited: Bool { true }
  func waitedForLimit(_ time: Duration) {}

  func beginVerified() { bytes.withLock { $0 = [] } }

  func receive(_ received: UnsafeRawBufferPointer) { bytes.withLock { $0 += received } }

  func finish(_ result: Result<Void, StoreError>) {
    completion.withLock { $0 }?(result)
  }
}

extension NextRequest {
  /// The request; the error too where an exchange would wait.
  func get() throws(StoreError) -> HTTPRequest {
    switch self {
    case .ready(let request): return request
    case .waiting(_, let error), .failed(let error): throw error
    }
  }
}
