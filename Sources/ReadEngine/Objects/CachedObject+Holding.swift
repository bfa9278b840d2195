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
    state.withLock { $0.presence.isWhole() }
  }

  // MARK: From the memory tier

  /// A reader has it open: what it has not read yet is needed now.
  var hasReaders: Bool { state.withLock { $0.readers > 0 } }

  /// How a piece that memory alone holds stands.
  func look(at piece: Int, _ glance: MemoryGlance) -> HeldLook {
    state.withLock { state in
      guard state.isEvictable(piece) else {
        // Off the list until it may go.
        state.memory[piece]?.isListed = false
        return .gone
      }
      if glance.policy == .lru { return state.memory[piece]!.lookForSecondChance() }
      if state.opens == 0, lastUse.load(ordering: .relaxed) < glance.usedBefore { return .dead }
      let isRead = state.readers > 0
      let own = state.memory[piece]!.look(isOpen: isRead)
      // A file that comes last again may be open, and not read to its end yet.
      guard let known = glance.nextUseOf(id), known < .max else { return own }
      // The next use of what its reader has not come to yet is now, and not where the order has the file again.
      if isRead, case .wanted = own { return .wanted(nextUse: 0) }
      return .wanted(nextUse: known)
    }
  }

  func isListed(_ piece: Int) -> Bool {
    state.withLock { $0.memory[piece]?.isListed ?? false }
  }

  /// False: it is gone already, or must stay. Either way it is off the list. The caller retires the object if it is
  /// idle then, once it holds no lock.
  func evictFromMemory(_ piece: Int) -> Bool {
    let block: BlockPool.Block? = state.withLock { state in
      state.memory[piece]?.isListed = false
      guard state.isEvictable(piece) else { return nil }
      state.streams.forgetPlans()
      return state.memory.removeValue(forKey: piece)?.block
    }
    guard let block else { return false }
    services.pool.release(block)
    return true
  }

  // MARK: By hand

  /// Drops the pieces that only memory holds and no reader waits for. Returns their bytes.
  func dropFromMemory() -> UInt64 {
    let (bytes, blocks): (UInt64, [BlockPool.Block]) = state.withLock { state in
      let idle = state.memory.keys.filter { state.isEvictable($0) }
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
    let pieces = state.withLock { $0.presence.presentPieces() }
    verify(pieces, isStopped: isStopped)
    let left = state.withLock { state in pieces.filter { state.presence.isPresent($0) } }
    let lost = Set(pieces).subtracting(left)
    return lost.reduce(0) { $0 + UInt64(Geometry.length(ofPiece: $1, size: version.size)) }
  }
}
