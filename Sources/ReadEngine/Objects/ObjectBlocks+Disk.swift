/// What the disk says of an object: a copy is found, written, found wrong, removed.
import Posix

extension ObjectBlocks {
  // MARK: Looking for a copy

  /// The disk is to be asked for a copy. `isPossible`: it can hold this object. `nil`: it is not to be asked.
  mutating func beginConnecting(isPossible: Bool, retryAt: Instant) -> DiskRequest? {
    guard isPossible, disk.writes != .never else {
      disk.writes = .never
      return nil
    }
    disk.writes = .refused(until: retryAt)
    if disk.isRemoving { return nil }
    return DiskRequest(isCounted: disk.isCounted, hasCopy: disk.copy != nil)
  }

  /// What came of it.
  mutating func connected(_ outcome: DiskOutcome) -> Connection {
    guard outcome.isCounted else { return .unchanged }
    disk.counted()
    if outcome.hasFailed { return .unchanged }
    // A fetch may have ended with another content while the disk was asked.
    if disk.writes == .never { return outcome.records == nil ? .unchanged : .unwanted }
    disk.writes = .taken
    guard let records = outcome.records, disk.copy == nil else { return .unchanged }
    disk.adopt(isRecorded: true)
    disk.presence.load(records)
    return .adopted
  }

  enum Connection {
    case unchanged
    /// There is a copy that there was not before.
    case adopted
    /// There is one that has the name of two contents: it is to be removed.
    case unwanted
  }

  /// The disk was asked. What memory alone holds is to be written, unless that is a part of a small object, which is
  /// written whole or not at all. `isFetching`: more of it is on its way.
  mutating func prepared(isFetching: Bool, retryAt: Instant) {
    disk.prepared()
    guard disk.writes == .taken else { return }
    if isSmall, disk.copy == nil, isFetching || !memory.isAllOrNothing {
      disk.writes = .refused(until: retryAt)
      return
    }
    let presence = disk.presence
    memory.writeWhatIsHeld { presence.isPresent($0) }
  }

  /// The first open after the last close: what the disk refused before is tried again.
  mutating func forgetRefusal(isFetching: Bool) {
    guard case .refused = disk.writes, !isSmall || !isFetching && memory.isAllOrNothing else {
      return
    }
    disk.lookAgain()
  }

  /// It is time to try the disk again with what arrives. A small object is written whole or not at all: that waits
  /// for the next time it is opened.
  func isTimeToWrite(at now: Instant) -> Bool {
    guard case .refused(let until) = disk.writes else { return false }
    return !isSmall && now >= until
  }

  // MARK: Writing

  /// Most pieces that are written in one go, 8 MiB: the first of them are on disk soon.
  private static var batchLimit: Int { 64 }

  private var isReadyToWrite: Bool { memory.isReadyToWrite && !disk.isRemoving }

  /// True if the object is to be handed to the disk writer.
  mutating func queueForWriting() -> Bool {
    guard isReadyToWrite, !disk.isQueuedForWriting else { return false }
    disk.isQueuedForWriting = true
    return true
  }

  /// The pieces to write now, in order; nil: there are none, the object is out of the writer's queue.
  mutating func nextBatch() -> BatchPlan? {
    guard isReadyToWrite else {
      disk.isQueuedForWriting = false
      return nil
    }
    let pieces = memory.nextBatch(limit: Self.batchLimit)
    return BatchPlan(
      pieces: pieces, blocks: pieces.map { memory.pieces[$0]!.block }, copy: disk.copy)
  }

  /// The pieces are on disk: from now on they are read from there. Returns their blocks; nil: what is on disk of the
  /// object was dropped since the batch was made, and the pieces stay in memory.
  mutating func wrote(_ batch: BatchPlan) -> [BlockPool.Block]? {
    guard disk.copy == batch.copy, !disk.isRemoving, disk.writes != .never else {
      memory.clean(batch.pieces)
      return nil
    }
    if batch.copy == nil { disk.adopt(isRecorded: false) }
    for piece in batch.pieces { disk.presence.markTrusted(piece) }
    return memory.remove(batch.pieces)
  }

  /// The disk takes nothing of this object until then: what waits to be written stays in memory. Returns those
  /// pieces.
  mutating func refuseWrites(until: Instant) -> [Int] {
    if disk.writes != .never { disk.writes = .refused(until: until) }
    return memory.cleanAll()
  }

  // MARK: Trust

  /// A piece of `copy` was compared with its record and is right.
  mutating func verified(_ piece: Int, of copy: CopyID) {
    guard disk.copy == copy, disk.presence.isPresent(piece) else { return }
    disk.presence.markTrusted(piece)
  }

  /// Pieces of the copy are wrong or cannot be read. `refusedUntil`: the disk keeps failing, it is done without until
  /// then. True if the copy is to be removed.
  mutating func drop(_ pieces: [Int], refusedUntil: Instant?) -> Bool {
    guard refusedUntil != nil || isSmall else {
      for piece in pieces { disk.presence.drop(piece) }
      return false
    }
    // A small file is right or wrong as a whole.
    if disk.writes != .never { disk.writes = refusedUntil.map { .refused(until: $0) } ?? .taken }
    disk.remove()
    return true
  }

  /// A content that only a reply's ETag tells from another may not be met again under the name of both. Returns pieces
  /// that may be evicted; true if the copy is to be removed.
  mutating func forgetCopy() -> (held: [Int], isRemoved: Bool) {
    let unwritten = memory.cleanAll()
    disk.writes = .never
    let hadCopy = disk.copy != nil
    if hadCopy { disk.remove() }
    return (memory.listEvictable(unwritten), hadCopy)
  }
}

/// What the disk is asked for an object.
struct DiskRequest {
  /// The disk tier has it down as open already.
  var isCounted: Bool
  /// It has a copy open already.
  var hasCopy: Bool
}

/// What came of asking the disk.
struct DiskOutcome {
  /// The disk tier has it down as open.
  var isCounted: Bool
  /// It could not be determined what there is.
  var hasFailed = false
  /// What is known of the pieces of the copy that was found; nil: there is none.
  var records: LoadedSegments?
}

/// Pieces that are written in one go.
struct BatchPlan {
  var pieces: [Int]
  var blocks: [BlockPool.Block]
  /// Which copy they are written to; nil: a new one.
  var copy: CopyID?
  /// Ranges on their way of which these are the first to be written: worth their blocks in one go.
  var coming: [Range<Int>] = []
}
