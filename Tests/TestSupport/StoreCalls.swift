public import ObjectStore
import Posix

/// Calls of a store that wait for their answer, for tests.
public struct StoreCalls {
  public let store: any ObjectStore
  public var within: Duration
  /// Kept alive while calls are made.
  private let owner: AnyObject?

  public init(
    store: any ObjectStore, within: Duration = .seconds(20), owner: AnyObject? = nil
  ) {
    self.store = store
    self.within = within
    self.owner = owner
  }

  private func answer<Value: Sendable>(
    _ call: (@escaping @Sendable (Result<Value, StoreError>) -> Void) -> Void
  ) throws -> Value {
    let monitor = Monitor<Result<Value, StoreError>?>(nil)
    call { result in monitor.signal(all: true) { $0 = result } }
    let answer = monitor.wait(until: .now + within + .seconds(5)) { $0 }
    guard let result = answer else {
      throw SupportError("the store did not call back in time")
    }
    return try result.get()
  }

  public func list(_ folder: String = "", failsFast: Bool = false) throws -> ListPage {
    let request = ListRequest(
      folder: ObjectKey(folder), deadline: .now + within, failsFast: failsFast)
    return try answer { store.list(request, completion: $0) }
  }

  public func head(_ key: String) throws -> ObjectAttributes { try head(ObjectKey(key)) }

  public func head(_ key: ObjectKey) throws -> ObjectAttributes {
    try answer { store.head(key, deadline: .now + within, completion: $0) }
  }

  public func fetch(_ version: ObjectVersion, _ range: Range<UInt64>? = nil) throws -> [UInt8] {
    let sink = ByteSink()
    let request = FetchRequest(
      version: version, range: range ?? 0..<version.size, deadline: .now + within)
    store.fetch(request, into: sink)
    return try sink.wait(within + .seconds(5))
  }

  /// The object as a fresh look at it shows it.
  public func read(_ key: ObjectKey) throws -> [UInt8] {
    guard let version = try head(key).version else {
      throw SupportError("\(key) has no version that can be read")
    }
    return version.size == 0 ? [] : try fetch(version)
  }

  /// The kind and the text of the error that `body` ends with.
  public static func failure(_ body: () throws -> Void) -> StoreError? {
    do {
      try body()
      return nil
    } catch { return error as? StoreError }
  }
}

public final class ByteSink: FetchSink {
  private struct State {
    var bytes: [UInt8] = []
    var result: Result<Void, StoreError>?
    var finishes = 0
  }
  private let monitor = Monitor(State())

  public init() {}

  public var isAwaited: Bool { true }
  public func waitedForLimit(_ time: Duration) {}

  public func beginVerified() { monitor.withLock { $0.bytes = [] } }

  public func receive(_ bytes: UnsafeRawBufferPointer) {
    monitor.signal(all: true) { $0.bytes.append(contentsOf: bytes) }
  }

  public func finish(_ result: Result<Void, StoreError>) {
    monitor.signal(all: true) {
      $0.result = result
      $0.finishes += 1
    }
  }

  public var finishes: Int { monitor.withLock { $0.finishes } }

  public func waitForBytes(_ count: Int) -> Bool {
    monitor.wait(until: .now + .seconds(20)) { $0.bytes.count >= count ? true : nil } ?? false
  }

  public func wait(_ duration: Duration = .seconds(20)) throws -> [UInt8] {
    let ended = monitor.wait(until: .now + duration) { state in
      state.result.map { ($0, state.bytes) }
    }
    guard let (result, bytes) = ended else {
      throw SupportError("the fetch did not end in time")
    }
    try result.get()
    return bytes
  }
}
