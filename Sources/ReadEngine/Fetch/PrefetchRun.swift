public import ObjectStore
import Posix
import SystemPackage

/// Fetches a version, or a range of it, into the cache without a reader.
///
/// Holds the object open, requests a few parts at a time, and reports its outcome once.
final class PrefetchRun: Sendable {
  private struct State {
    var next: Int
    var underWay = 0
    var bytes: UInt64 = 0
    var isPlanning = false
    /// From here on it is planned again once the planning that runs is over.
    var replanFrom: Int?
    var done: (@Sendable (PrefetchOutcome) -> Void)?
    var failure: StoreError?
  }

  let rank: FetchRank
  private let object: CachedObject
  /// Where its last piece ends.
  private let end: Int
  /// Its bytes have room on the disk.
  private let isAdmitted: Bool
  private let state: Lock<State>

  /// Ranges of one object under way at once.
  private static let width = 4
  /// Of one request, bytes: what is in flight when a reader comes is soon done.
  private static let range = 4 << 20

  /// `pieces`: nil for all of it. `isAdmitted`: the disk tier has reserved what is missing of them.
  init(
    _ object: CachedObject, pieces: Range<Int>? = nil, _ rank: FetchRank,
    isAdmitted: Bool = false, done: @escaping @Sendable (PrefetchOutcome) -> Void
  ) {
    self.object = object
    self.rank = rank
    self.isAdmitted = isAdmitted
    end = pieces?.upperBound ?? Geometry.pieceCount(ofSize: object.version.size)
    state = Lock(State(next: pieces?.lowerBound ?? 0, done: done))
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

  /// Of a fetch that was planned for `planned` bytes only `sent` are asked for, because a reader waits and memory
  /// is short: the rest is planned again.
  func cut(_ planned: Range<UInt64>, to sent: Range<UInt64>) {
    state.withLock { state in
      let piece = Geometry.pieces(covering: planned).lowerBound
      if state.isPlanning {
        state.replanFrom = min(state.replanFrom ?? piece, piece)
      } else {
        state.next = min(state.next, piece)
      }
      state.bytes -= UInt64(planned.count - sent.count)
    }
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
    let planned = object.planPrefetch(
      start..<max(start, end), limit: limit, chunk: Self.range / Geometry.pieceSize, for: self)
    let fetches = planned?.fetches ?? []
    state.withLock { state in
      state.underWay += fetches.count
      state.bytes += fetches.reduce(0) { $0 + UInt64($1.planned.count) }
      if let next = planned?.plan.next {
        state.next = min(next, state.replanFrom ?? next)
        state.replanFrom = nil
      } else {
        state.failure = StoreError(
          .changed, store: "", key: object.version.key, detail: "it changed in the store")
      }
      // Until the records are read that it needs to go on.
      state.isPlanning = planned?.plan.unknown != nil
    }
    object.services.dispatcher.submit(fetches)
    if let unknown = planned?.plan.unknown { planOnceKnown(unknown) }
  }

  /// Goes on once the records of `piece` are read, on a disk worker.
  private func planOnceKnown(_ piece: Int) {
    let isTaken = object.services.diskReads.workers.submit { [self] in
      object.copyOnDisk.loadRecords(of: piece..<piece + 1)
      endPlanning(nil)
    }
    if !isTaken {
      endPlanning(StoreError(.cancelled, store: "", detail: "no thread reads the cache's records"))
    }
  }

  private func endPlanning(_ failure: StoreError?) {
    state.withLock { state in
      state.isPlanning = false
      if let from = state.replanFrom { state.next = min(state.next, from) }
      state.replanFrom = nil
      if let failure { state.failure = failure }
    }
    plan()
  }

  private func finishIfOver() {
    let (done, outcome) = state.withLock {
      state -> ((@Sendable (PrefetchOutcome) -> Void)?, PrefetchOutcome) in
      let isOver = state.failure != nil || state.next >= end
      guard isOver, state.underWay == 0, !state.isPlanning else { return (nil, .fetched(0)) }
      defer { state.done = nil }
      return (state.done, state.failure.map { .failed($0) } ?? .fetched(state.bytes))
    }
    guard let done else { return }
    if isAdmitted {
      let isWriting = object.isQueuedForWriting
      object.services.disk?.endAdmission(of: object.id, isWriting: isWriting)
      // It may have been written meanwhile.
      if isWriting, !object.isQueuedForWriting {
        object.services.disk?.wrote(object.id)
      }
    }
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
