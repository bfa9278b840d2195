/// What is done to a version by hand: how much of it is in memory, dropping it, verifying it.
import ObjectStore
import Posix

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
  func verifyAll() -> UInt64 {
    let pieces: [Int] = state.withLock { state in
      loadSegments(0..<state.pieceCount, in: &state)
      return (0..<state.pieceCount).filter { state.presence.isPresent($0) }
    }
    verify(pieces)
    let left = state.withLock { state in pieces.filter { state.presence.isPresent($0) } }
    let lost = Set(pieces).subtracting(left)
    return lost.reduce(0) { $0 + UInt64(Geometry.length(ofPiece: $1, size: version.size)) }
  }
}
