import ObjectStore
import Posix

/// A store whose fetches wait while its gate is closed.
final class GatedStore: ObjectStore {
  private struct State {
    var isOpen = true
    var held: [HeldFetch] = []
  }

  private let inner: any ObjectStore
  private let state = Monitor(State())

  init(_ inner: any ObjectStore) { self.inner = inner }

  var displayName: String { inner.displayName }
  var identity: String { inner.identity }
  var traits: StoreTraits { inner.traits }

  func close() { state.withLock { $0.isOpen = false } }

  func open() {
    let held = state.withLock { state in
      state.isOpen = true
      defer { state.held = [] }
      return state.held
    }
    for fetch in held { fetch.start(in: inner) }
  }

  /// True: so many fetches wait at the gate.
  func waitForHeld(_ count: Int) -> Bool {
    state.wait(until: Instant.now + .seconds(20)) { $0.held.count >= count ? true : nil } ?? false
  }

  func list(
    _ request: ListRequest, completion: @escaping @Sendable (Result<ListPage, StoreError>) -> Void
  ) { inner.list(request, completion: completion) }

  func head(
    _ key: ObjectKey, deadline: Instant,
    completion: @escaping @Sendable (Result<ObjectAttributes, StoreError>) -> Void
  ) { inner.head(key, deadline: deadline, completion: completion) }

  @discardableResult
  func fetch(_ request: FetchRequest, into sink: any FetchSink) -> any FetchTicket {
    let fetch = HeldFetch(request, sink)
    let isOpen = state.signal(all: true) { state in
      if !state.isOpen { state.held.append(fetch) }
      return state.isOpen
    }
    return isOpen ? inner.fetch(request, into: sink) : fetch
  }

  func shutdown() { inner.shutdown() }
}

private final class HeldFetch: FetchTicket {
  private enum Phase {
    case held
    case started((any FetchTicket)?)
    case ended
  }

  private let request: FetchRequest
  private let sink: any FetchSink
  private let phase = Lock(Phase.held)

  init(_ request: FetchRequest, _ sink: any FetchSink) {
    self.request = request
    self.sink = sink
  }

  func start(in store: any ObjectStore) {
    let starts = phase.withLock { phase in
      guard case .held = phase else { return false }
      phase = .started(nil)
      return true
    }
    guard starts else { return }
    let ticket = store.fetch(request, into: sink)
    phase.withLock { $0 = .started(ticket) }
  }

  func cancel() {
    let (wasHeld, ticket): (Bool, (any FetchTicket)?) = phase.withLock { phase in
      defer { if case .held = phase { phase = .ended } }
      switch phase {
      case .held: return (true, nil)
      case .started(let ticket): return (false, ticket)
      case .ended: return (false, nil)
      }
    }
    if wasHeld {
      sink.finish(
        .failure(
          StoreError(.cancelled, store: "gate", key: request.version.key, detail: "given up"))
      )
    }
    ticket?.cancel()
  }
}
