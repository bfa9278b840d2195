/// What memory holds of a version: for the tier that lets go of it, and what is done to it by hand.
import ObjectStore
import Posix
import Synchronization

extension CachedObject {
  /// Bytes that memory holds, and whether some are on their way from the store or to the disk.
  var bytesInMemory: (UInt64, isMoving: Bool) {
    state.withLock { state in
      let bytes = state.memory.reduce(UInt64(0)) { sum, held in
        guard held.value.isComplete else { return sum }
        return sum + UInt64(Geometry.length(ofPiece: held.key, size: version.size))
      }
      return (bytes, !state.fetches.isEmpty || state.isQueuedForWriting)
    }
  }

  /// Every piece is on disk by its record.
  var isWholeInRecords: Bool {
    state.withLock { state in
      loadSegments(0..<state.pieceCount, in: &state)
      return state.presence.presentCount == state.pieceCount
    }
  }

  // MARK: From the memory tier

  /// How a piece that memory alone holds stands.
  func look(at piece: Int, _ glance: MemoryGlance) -> HeldLook {
    state.withLock { state in
      guard let held = state.memory[piece], held.isComplete, !held.isDirty else { return .gone }
      if glance.policy == .lru { return state.memory[piece]!.lookForSecondChance() }
      let isOpen = state.opens > 0
      if !isOpen, lastUse.load(ordering: .relaxed) < glance.usedBefore { return .dead }
      // A file that comes last again may be open, and not read to its end yet.
      if let known = glance.nextUseOf(id), known < .max { return .wanted(nextUse: known) }
      return state.memory[piece]!.look(isOpen: isOpen)
    }
  }

  func isHeldInMemory(_ piece: Int) -> Bool {
    state.withLock { $0.memory[piece].map { $0.isComplete && !$0.isDirty } ?? false }
  }

  /// False: it is gone already, or must stay.
  func evictFromMemory(_ piece: Int) -> Bool {
    let block: BlockPool.Block? = state.withLock { state in
      guard let held = state.memory[piece], held.isComplete, !held.isDirty else { return nil }
      state.memory[piece] = nil
      state.streams.forgetPlans()
      return held.block
    }
    guard let block else { return false }
    services.pool.release(block)
    services.retireIfIdle(self)
    return true
  }

  // MARK: By hand

  /// Drops the pieces that memory alone holds and nobody waits for. Returns their bytes.
  func dropFromMemory() -> UInt64 {
    let (bytes, blocks): (UInt64, [BlockPool.Block]) = state.withLock { state in
      let idle = state.memory.filter { $0.value.isComplete && !$0.value.isDirty }.map(\.key)
      let bytes = idle.reduce(UInt64(0)) {
        $0 + UInt64(Geometry.length(ofPiece: $1, size: version.size))
      }
      state.streams.forgetPlans()
      return (bytes, state.removeFromMemory(idle))
    }
    for block in blocks { release(block) }
    services.retireIfIdle(self)
    return bytes
  }

  /// Compares every piece on disk with its record. Returns the bytes of those that were dropped.
  func verifyAll(isStopped: () -> Bool) -> UInt64 {
    let pieces: [Int] = state.withLock { state in
      loadSegments(0..<state.pieceCount, in: &state)
      return (0..<state.pieceCount).filter { state.presence.isPresent($0) }
    }
    verify(pieces, isStopped: isStopped)
    let left = state.withLock { state in pieces.filter { state.presence.isPresent($0) } }
    let lost = Set(pieces).subtracting(left)
    return lost.reduce(0) { $0 + UInt64(Geometry.length(ofPiece: $1, size: version.size)) }
  }
}
