/// Pieces that memory alone holds and no reader waits for: all such without a disk tier, else those for which the
/// disk had no room. They go when blocks are needed for what is fetched next: `HeldPieces` says which.
import Posix

final class MemoryTier: Sendable {
  private struct Held {
    let object: CachedObject
    let piece: Int
  }

  private struct State {
    var pieces: HeldPieces<Held>
    /// Not the system's: that is a system call for each number.
    var random: SeededGenerator
  }

  private let state: Lock<State>
  private let policy: EvictionPolicy
  private let reuse: Lock<ReuseMeter>
  private let nextUse = Lock<Callback<UInt64, Int?>?>(nil)
  /// So many may be down as held before those that are gone are forgotten.
  private let countLimit: Int

  init(_ policy: EvictionPolicy, blocks: Int, reuse: Lock<ReuseMeter>, seed: UInt64) {
    self.policy = policy
    self.reuse = reuse
    countLimit = 2 * blocks
    state = Lock(State(pieces: HeldPieces(policy), random: SeededGenerator(seed: seed)))
  }

  func onNextUse(_ handler: @escaping @Sendable (UInt64) -> Int?) {
    nextUse.withLock { $0 = Callback(handler) }
  }

  /// Puts pieces that may be evicted on the list.
  func hold(_ pieces: [Int], of object: CachedObject) {
    if pieces.isEmpty { return }
    state.withLock { state in
      for piece in pieces { state.pieces.add(Held(object: object, piece: piece)) }
      if state.pieces.count > countLimit { tidy(&state) }
    }
  }

  private func tidy(_ state: inout State) {
    var seen: Set<HeldKey> = []
    state.pieces.tidy { held in
      held.object.isListed(held.piece)
        && seen.insert(HeldKey(object: ObjectIdentifier(held.object), piece: held.piece)).inserted
    }
  }

  private struct HeldKey: Hashable {
    let object: ObjectIdentifier
    let piece: Int
  }

  /// Frees up to `count` blocks for a fetch of `owner`, or nothing if fewer than `least` may be evicted. For a fetch
  /// that no reader waits for, no piece is evicted that is still to be read. Returns how many were freed.
  func evict(_ count: Int, atLeast least: Int, for owner: any FetchOwner, isDemand: Bool) -> Int {
    let handler = policy == .epoch ? nextUse.withLock { $0 } : nil
    let (now, deadAfter) = reuse.withLock { ($0.opens, $0.deadAfter) }
    let glance = MemoryGlance(
      policy: policy, usedBefore: deadAfter > 0 ? now - deadAfter : .min,
      nextUseOf: { id in handler?(id.low) })
    let cause: HeldCause =
      isDemand ? .reader : .ahead(nextUse: owner.hasReaders ? 0 : glance.nextUseOf(owner.id))
    var evicted: [CachedObject] = []
    let freed = state.withLock { state in
      state.pieces.evict(
        count, atLeast: least, for: cause, using: &state.random,
        look: { $0.object.look(at: $0.piece, glance) },
        take: { held in
          guard held.object.evictFromMemory(held.piece) else { return false }
          if evicted.last !== held.object { evicted.append(held.object) }
          return true
        })
    }
    // It calls out: without the lock.
    for object in evicted { object.services.retireIfIdle(object) }
    return freed
  }

  func removeAll() { state.withLock { $0.pieces.removeAll() } }
}

/// What a look at a piece goes by, beside the piece itself.
struct MemoryGlance {
  var policy: EvictionPolicy
  /// Files that were last opened before it, on the clock of opens, do not come back.
  var usedBefore: Int64
  var nextUseOf: (FileID) -> Int?
}
