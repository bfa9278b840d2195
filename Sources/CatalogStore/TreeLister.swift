public import ObjectStore
import Posix

/// Lists everything below a folder, many folders at once: for snapshots.
public final class TreeLister: Sendable {
  private struct State {
    var builder = CatalogBuilder()
    var budget = ListingBudget(bytesMax: TreeLister.bytesLimit)
    var queue: [Step] = []
    var inFlight = 0
    var requests = 0
    var failure: StoreError?
    var isDone = false
  }

  private enum Step {
    case list(ObjectKey, cursor: String?)
    /// The listing does not know the size.
    case head(ObjectKey)
  }

  /// Deeper, it is a link that leads back to itself.
  private static let depthLimit = 256
  /// Memory for the names of one tree, bytes: some 50 million of them.
  private static let bytesLimit = 8 << 30
  /// Requests at once.
  private static let width = 32

  private let store: any ObjectStore
  private let timeout: Duration
  private let state: Monitor<State>

  private init(_ store: any ObjectStore, _ timeout: Duration) {
    self.store = store
    self.timeout = timeout
    state = Monitor(State())
  }

  /// Waits for all of it. `timeout` is that of one request. Objects that no path reaches are left out
  /// by the mount, not here.
  public static func list(
    _ store: any ObjectStore, below prefix: ObjectKey, timeout: Duration
  ) throws(StoreError) -> (catalog: Catalog, requests: Int) {
    let lister = TreeLister(store, timeout)
    lister.state.signal { $0.queue = [.list(prefix, cursor: nil)] }
    lister.pump()
    // Each request ends by its deadline, so this does.
    let (builder, requests, failure) = lister.state.wait { state in
      state.isDone ? (state.builder, state.requests, state.failure) : nil
    }!
    if let failure { throw failure }
    do throws(Catalog.Duplicate) { return (try Catalog(builder), requests) } catch {
      throw StoreError(
        .badReply, store: store.displayName, key: error.key,
        detail: "the store lists this key twice")
    }
  }

  private func pump() {
    let steps = state.signal(all: true) { state -> [Step] in
      var steps: [Step] = []
      while state.failure == nil, state.inFlight < Self.width, let next = state.queue.popLast() {
        state.inFlight += 1
        state.requests += 1
        steps.append(next)
      }
      state.isDone = state.inFlight == 0
      return steps
    }
    for step in steps { start(step) }
  }

  private func start(_ step: Step) {
    let deadline = Instant.now + timeout
    switch step {
    case .list(let folder, let cursor):
      store.list(ListRequest(folder: folder, cursor: cursor, deadline: deadline)) { [self] result in
        ended(result) { state, page in
          if let excess = state.budget.exceeded(by: page) {
            state.failure = StoreError(
              .badReply, store: store.displayName, key: folder, detail: excess,
              advice: "list it in parts")
            return
          }
          if let next = page.next { state.queue.append(.list(folder, cursor: next)) }
          for folder in page.folders {
            guard folder.bytes.count(where: { $0 == UInt8(ascii: "/") }) <= Self.depthLimit else {
              return Self.tooDeep(folder, store, &state)
            }
            state.queue.append(.list(folder, cursor: nil))
          }
          for object in page.objects { Self.take(object, &state) }
        }
      }
    case .head(let key):
      store.head(key, deadline: deadline) { [self] result in
        ended(result) { state, object in
          if object.size != nil { state.builder.add(object) }
        }
      }
    }
  }

  private static func tooDeep(
    _ folder: ObjectKey, _ store: any ObjectStore, _ state: inout State
  ) {
    state.failure = StoreError(
      .unsupported, store: store.displayName, key: folder,
      detail: "the tree is deeper than \(depthLimit) directories",
      advice: "check for a symbolic link loop")
  }

  private static func take(_ object: ObjectAttributes, _ state: inout State) {
    if object.size == nil {
      state.queue.append(.head(object.key))
    } else {
      state.builder.add(object)
    }
  }

  private func ended<Value>(
    _ result: Result<Value, StoreError>, _ take: (inout State, Value) -> Void
  ) {
    state.signal { state in
      state.inFlight -= 1
      switch result {
      case .success(let value): take(&state, value)
      case .failure(let error) where error.kind == .notFound: break
      case .failure(let error): if state.failure == nil { state.failure = error }
      }
    }
    pump()
  }
}
