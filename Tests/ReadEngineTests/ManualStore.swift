import ObjectStore
import Posix

/// A store whose fetches make progress only when the test says so. Every byte is 0.
final class ManualStore: ObjectStore {
  struct Pending {
    var request: FetchRequest
    var sink: any FetchSink
    var position: UInt64
  }

  private struct State {
    var pending: [Pending] = []
    var begun = 0
    var bytes = 0
    var isStopped = false
  }

  private static let chunk = 128 << 10
  private let state = Lock(State())
  private let zeros = [UInt8](repeating: 0, count: ManualStore.chunk)
  /// Called when a fetch begins, no lock held.
  private let onFetch: @Sendable (FetchRequest) -> Void

  init(onFetch: @escaping @Sendable (FetchRequest) -> Void) { self.onFetch = onFetch }

  let displayName = "manual"
  let identity = "manual"
  let traits = StoreTraits(preferredRange: 1 << 20)

  /// Fetches that began.
  var begun: Int { state.withLock { $0.begun } }
  /// Bytes that were asked for.
  var bytes: Int { state.withLock { $0.bytes } }
  var isIdle: Bool { state.withLock { $0.pending.isEmpty } }

  func list(
    _ request: ListRequest, completion: @escaping @Sendable (Result<ListPage, StoreError>) -> Void
  ) { completion(.failure(StoreError(.notFound, store: displayName, detail: "it has no names"))) }

  func head(
    _ key: ObjectKey, deadline: Instant,
    completion: @escaping @Sendable (Result<ObjectAttributes, StoreError>) -> Void
  ) { completion(.failure(StoreError(.notFound, store: displayName, detail: "it has no names"))) }

  @discardableResult
  func fetch(_ request: FetchRequest, into sink: any FetchSink) -> any FetchTicket {
    onFetch(request)
    let isStopped = state.withLock { state in
      state.begun += 1
      state.bytes += request.range.count
      if !state.isStopped {
        state.pending.append(
          Pending(request: request, sink: sink, position: request.range.lowerBound))
      }
      return state.isStopped
    }
    if isStopped { sink.finish(.failure(StoreError(.cancelled, store: displayName, detail: ""))) }
    return Ticket()
  }

  /// Delivers a part of one fetch, or all that is left of it. False: there is none.
  func deliver(using random: inout some RandomNumberGenerator) -> Bool {
    let index = state.withLock { state in
      state.pending.indices.randomElement(using: &random)
    }
    guard let index else { return false }
    var fetch = state.withLock { $0.pending.remove(at: index) }
    var left = Int(fetch.request.range.upperBound - fetch.position)
    if Bool.random(using: &random) { left = Int.random(in: 1...left, using: &random) }
    while left > 0 {
      let count = min(left, Self.chunk)
      zeros.withUnsafeBytes { fetch.sink.receive(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
      fetch.position += UInt64(count)
      left -= count
    }
    if fetch.position == fetch.request.range.upperBound {
      fetch.sink.finish(.success(()))
    } else {
      let fetch = fetch
      state.withLock { $0.pending.append(fetch) }
    }
    return true
  }

  func shutdown() {
    let pending = state.withLock { state in
      state.isStopped = true
      defer { state.pending = [] }
      return state.pending
    }
    for fetch in pending {
      fetch.sink.finish(.failure(StoreError(.cancelled, store: displayName, detail: "")))
    }
  }

  private final class Ticket: FetchTicket {
    func cancel() {}
  }
}
