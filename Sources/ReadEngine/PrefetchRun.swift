public import ObjectStore
import Posix
import SystemPackage

/// All of one version on its way into the cache, for somebody who does not read it now.
///
/// Holds the object open, asks for a few ranges at a time, and tells once how it ended.
final class PrefetchRun: Sendable {
  private struct State {
    var next = 0
    var underWay = 0
    var bytes: UInt64 = 0
    var isPlanning = false
    var done: (@Sendable (PrefetchOutcome) -> Void)?
    var failure: StoreError?
  }

  let rank: FetchRank
  private let object: CachedObject
  private let state: Lock<State>

  /// Ranges of one object under way at once.
  private static let width = 4
  /// Of one request, bytes: what is in flight when a reader comes is soon done.
  private static let range = 4 << 20

  init(
    _ object: CachedObject, _ rank: FetchRank, done: @escaping @Sendable (PrefetchOutcome) -> Void
  ) {
    self.object = object
    self.rank = rank
    state = Lock(State(done: done))
  }

  /// The object was opened for this run; it is closed with its end.
  func start() { plan() }

  /// A fetch of it is over, or was never sent. Call it without a lock held.
  func ended(_ result: Result<Void, StoreError>) {
    state.withLock { state in
      state.underWay -= 1
      if case .failure(let error) = result { state.failure = error }
    }
    plan()
  }

  private func plan() {
    let turn: (start: Int, room: Int)? = state.withLock { state in
      guard state.done != nil, !state.isPlanning, state.failure == nil,
        state.underWay < Self.width
      else { return nil }
      state.isPlanning = true
      return (state.next, Self.width - state.underWay)
    }
    if let turn { plan(from: turn.start, limit: turn.room) }
    finishIfOver()
  }

  private func plan(from start: Int, limit: Int) {
    var plan = ObjectState.Plan()
    let next: Int? = object.state.withLock { object in
      if object.isStale { return nil }
      self.object.loadSegments(0..<object.pieceCount, in: &object)
      return object.planPrefetch(
        from: start, limit: limit, chunk: Self.range / Geometry.pieceSize, for: self,
        of: self.object, &plan)
    }
    state.withLock { state in
      state.underWay += plan.fetches.count
      state.bytes += plan.fetches.reduce(0) { $0 + UInt64($1.planned.count) }
      if let next {
        state.next = next
      } else {
        state.failure = StoreError(
          .changed, store: "", key: object.version.key, detail: "it was changed in the store")
      }
      state.isPlanning = false
    }
    object.services.dispatcher.submit(plan.fetches)
  }

  private func finishIfOver() {
    let pieceCount = Geometry.pieceCount(ofSize: object.version.size)
    let (done, outcome) = state.withLock {
      state -> ((@Sendable (PrefetchOutcome) -> Void)?, PrefetchOutcome) in
      let isOver = state.failure != nil || state.next >= pieceCount
      guard isOver, state.underWay == 0, !state.isPlanning else { return (nil, .fetched(0)) }
      defer { state.done = nil }
      return (state.done, state.failure.map { .failed($0) } ?? .fetched(state.bytes))
    }
    guard let done else { return }
    object.services.close(object)
    done(outcome)
  }
}

/// How a prefetch ended.
public enum PrefetchOutcome: Sendable {
  /// All of it is here; so many bytes came for it.
  case fetched(UInt64)
  case failed(StoreError)
}
