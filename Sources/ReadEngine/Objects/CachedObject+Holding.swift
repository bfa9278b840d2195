/// Whether an object is in use, what memory holds of it for the tier that evicts, and what is done to it by hand.
import ObjectStore
import Posix
import Synchronization

extension CachedObject {
  // MARK: Use

  func opened(isUse: Bool) { withMachine { $0.opened(isUse: isUse) } }
  func closed(isUse: Bool) { withMachine { $0.closed(isUse: isUse) } }

  /// Whether `retire` would do something now.
  var isRetirable: Bool {
    withMachine { $0.isIdle || $0.isAtRest && $0.blocks.disk.isCounted }
  }

  enum Retirement {
    /// It is in use, or there is nothing to be done.
    case stays
    /// Memory holds some of it: only its files were closed, so that the disk tier may evict them. The last references
    /// to them are to go without a lock held: to close an unlinked file takes its time.
    case rests([CacheFile])
    /// Nothing is left of it. `wasCounted`: the disk tier has it down as open.
    case isOver(wasCounted: Bool)
  }

  /// If it is at rest, closes its file: the next open looks for it anew. The caller tells the disk tier.
  func retire() -> Retirement {
    withState { state in
      let isCounted = state.machine.blocks.disk.isCounted
      if state.machine.isIdle {
        state.machine.blocks.disk.uncounted()
        return .isOver(wasCounted: isCounted)
      }
      guard state.machine.isAtRest, isCounted else { return .stays }
      retireFile(&state)
      state.machine.blocks.disk.close(at: .now)
      defer { state.retiredFiles = [] }
      return .rests(state.retiredFiles)
    }
  }

  // MARK: What there is of it

  /// Bytes that memory holds, and whether some are on their way from the store or to the disk.
  var bytesInMemory: (UInt64, isMoving: Bool) {
    withMachine {
      ($0.blocks.bytesInMemory, !$0.fetches.isEmpty || $0.blocks.disk.isQueuedForWriting)
    }
  }

  var isWholeOnDisk: Bool { wholeDescriptor.load(ordering: .relaxed) >= 0 }

  /// How far its readers have come, bytes; nil: no reader has it open.
  var readPosition: UInt64? { withMachine { $0.readers > 0 ? $0.streams.furthest : nil } }

  var isQueuedForWriting: Bool { withMachine { $0.blocks.disk.isQueuedForWriting } }

  // MARK: From the memory tier

  /// How a piece that memory alone holds stands.
  func look(at piece: Int, _ glance: MemoryGlance) -> HeldLook {
    let isDead = lastUse.load(ordering: .relaxed) < glance.usedBefore
    let (own, isRead) = withMachine {
      ($0.look(at: piece, glance.policy, isDead: isDead), $0.readers > 0)
    }
    if glance.policy == .lru || own == .gone || own == .dead { return own }
    // A file that comes last again may be open, and not read to its end yet.
    guard let known = glance.nextUseOf(id), known < .max else { return own }
    // The next use of what its reader has not come to yet is now, and not where the order has the file again.
    if isRead, case .wanted = own { return .wanted(nextUse: 0) }
    return .wanted(nextUse: known)
  }

  func isListed(_ piece: Int) -> Bool { withMachine { $0.blocks.memory.isListed(piece) } }

  /// False: it is gone already, or must stay. Either way it is off the list. The caller retires the object if it is
  /// idle then, once it holds no lock.
  func evictFromMemory(_ piece: Int) -> Bool {
    guard let block = withMachine({ $0.evict(piece) }) else { return false }
    services.pool.release(block)
    return true
  }

  // MARK: By hand

  /// Drops the pieces that only memory holds and no reader waits for. Returns their bytes.
  func dropFromMemory() -> UInt64 {
    let (bytes, blocks) = withMachine { $0.dropFromMemory() }
    for block in blocks { release(block) }
    services.retireIfIdle(self)
    return bytes
  }
}
