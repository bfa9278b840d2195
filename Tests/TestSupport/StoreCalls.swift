import Logging
import Metrics
import ObjectStore
import Posix
import Testing
import Transport

@testable import Stores

/// Calls of a store that wait for their answer, for tests.
struct StoreCalls {
  let store: any ObjectStore
  var within: Duration = .seconds(20)
  /// Kept alive while calls are made.
  var owner: AnyObject?

  private func answer<Value: Sendable>(
    _ call: (@escaping @Sendable (Result<Value, StoreError>) -> Void) -> Void
  ) throws -> Value {
    let monitor = Monitor<Result<Value, StoreError>?>(nil)
    call { result in monitor.signal(all: true) { $0 = result } }
    return try #require(monitor.wait(until: .now + within + .seconds(5)) { $0 }).get()
  }

  func list(_ folder: String = "", failsFast: Bool = false) throws -> ListPage {
    let request = ListRequest(
      folder: ObjectKey(folder), deadline: .now + within, failsFast: failsFast)
    return try answer { store.list(request, completion: $0) }
  }

  func head(_ key: String) throws -> ObjectAttributes { try head(ObjectKey(key)) }

  func head(_ key: ObjectKey) throws -> ObjectAttributes {
    try answer { store.head(key, deadline: .now + within, completion: $0) }
  }

  func fetch(_ version: ObjectVersion, _ range: Range<UInt64>? = nil) throws -> [UInt8] {
    let sink = ByteSink()
    let request = FetchRequest(
      version: version, range: range ?? 0..<version.size, deadline: .now + within)
    store.fetch(request, into: sink)
    return try sink.wait(within + .seconds(5))
  }

  /// The object as a fresh look at it shows it.
  func read(_ key: ObjectKey) throws -> [UInt8] {
    let version = try #require(try head(key).version)
    return version.size == 0 ? [] : try fetch(version)
  }

  /// The kind and the text of the error that `body` ends with.
  static func failure(_ body: () throws -> Void) -> StoreError? {
    do {
      try body()
      return nil
    } catch { return error as? StoreError }
  }
}

final class ByteSink: FetchSink {
  private struct State {
    var bytes: [UInt8] = []
    var result: Result<Void, StoreError>?
    var finishes = 0
  }
  private let monitor = Monitor(State())

  var isAwaited: Bool { true }
  func waitedForLimit(_ time: Duration) {}

  func beginVerified() { monitor.withLock { $0.bytes = [] } }

  func receive(_ bytes: UnsafeRawBufferPointer) {
    monitor.signal(all: true) { $0.bytes.append(contentsOf: bytes) }
  }

  func finish(_ result: Result<Void, StoreError>) {
    monitor.signal(all: true) {
      $0.result = result
      $0.finishes += 1
    }
  }

  var finishes: Int { monitor.withLock { $0.finishes } }

  func waitForBytes(_ count: Int) -> Bool {
    monitor.wait(until: .now + .seconds(20)) { $0.bytes.count >= count ? true : nil } ?? false
  }

  func wait(_ duration: Duration = .seconds(20)) throws -> [UInt8] {
    let ended = monitor.wait(until: .now + duration) { state in
      state.result.map { ($0, state.bytes) }
    }
    let (result, bytes) = try #require(ended)
    try result.get()
    return bytes
  }
}

/// An HTTP store with a transport of its own, ended with its owner.
final class TestSite {
  let metrics = Metrics()
  let store: HTTPStore
  var calls: StoreCalls { StoreCalls(store: store, owner: self) }

  init(_ url: String, manifest: String? = nil) throws {
    let transport = Transport(
      configuration: TransportConfiguration(), metrics: metrics.store,
      log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    do {
      store = try HTTPStore(
        url: url, options: HTTPStoreOptions(manifest: manifest), transport: transport,
        metrics: metrics.store)
    } catch {
      transport.shutdown()
      throw error
    }
  }

  deinit { store.shutdown() }
}
