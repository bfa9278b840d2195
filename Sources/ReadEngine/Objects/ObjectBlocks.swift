/// Where the blocks of one object are: in memory, on disk, or both, and which of them go from one to the other.
///
/// A value; the part of `ObjectStateMachine` that knows of no reader and no fetch. What the disk says is in the file
/// beside it.
import Posix

struct ObjectBlocks {
  let size: UInt64
  var memory: ObjectMemory
  var disk: ObjectDisk

  init(size: UInt64, protectsReads: Bool) {
    self.size = size
    let pieceCount = Geometry.pieceCount(ofSize: size)
    memory = ObjectMemory(
      pieceCount: pieceCount, isSmall: size <= Geometry.smallObjectLimit,
      protectsReads: protectsReads)
    disk = ObjectDisk(pieceCount: pieceCount)
  }

  var pieceCount: Int { memory.pieceCount }
  var isSmall: Bool { memory.isSmall }

  /// Nothing is on its way to the disk, and no read holds memory.
  var isAtRest: Bool {
    memory.admitted.isEmpty && memory.dirty.isEmpty && !disk.isQueuedForWriting
      && !disk.isRemoving
  }

  // MARK: Where bytes are

  /// Where the bytes of a range are.
  enum Standing {
    case disk
    case memory
    /// Some here, some there.
    case mixed
    /// All there, but some pieces on disk have to be checked first.
    case unverified
    case missing
    /// Records are to be read before it can be said.
    case unknown
  }

  func standing(of bytes: Range<UInt64>) -> Standing {
    var (onDisk, inMemory, needsCheck, isMissing) = (false, false, false, false)
    for piece in Geometry.pieces(covering: bytes) {
      if hasInMemory(piece, upTo: min(bytes.upperBound, end(piece))) {
        inMemory = true
      } else if disk.presence.isPresent(piece) {
        onDisk = true
        if !disk.presence.isTrusted(piece) { needsCheck = true }
      } else if disk.presence.isKnown(piece) {
        isMissing = true
      } else {
        return .unknown
      }
    }
    if isMissing { return .missing }
    if needsCheck { return .unverified }
    if onDisk { return inMemory ? .mixed : .disk }
    return .memory
  }

  private func hasInMemory(_ piece: Int, upTo end: UInt64) -> Bool {
    guard let held = memory.pieces[piece] else { return false }
    return Geometry.start(ofPiece: piece) + UInt64(held.filled) >= end
  }

  private func end(_ piece: Int) -> UInt64 { min(Geometry.start(ofPiece: piece + 1), size) }

  /// Every piece is in memory or on its way there, or every piece is on disk: nothing to plan.
  var lacksNothing: Bool {
    memory.pieces.count == pieceCount || disk.presence.presentCount == pieceCount
  }

  /// Pieces on disk of a range that have not been checked since the machine crashed.
  func unverified(in bytes: Range<UInt64>) -> [Int] {
    Geometry.pieces(covering: bytes).filter {
      disk.presence.isPresent($0) && !disk.presence.isTrusted($0)
    }
  }

  /// Blocks that a read takes at most: a small object is fetched whole.
  func blocksNeeded(for bytes: Range<UInt64>) -> Int {
    isSmall ? pieceCount : Geometry.pieces(covering: bytes).count
  }

  /// Plans by what is here now.
  var planner: ReadPlanner { ReadPlanner(size: size, memory: memory, presence: disk.presence) }

  // MARK: Reading

  /// Where each byte of a range is, in order. Counts as a read of it.
  mutating func segments(of bytes: Range<UInt64>) -> [ReplySegment] {
    var segments: [ReplySegment] = []
    for piece in Geometry.pieces(covering: bytes) {
      let start = Geometry.start(ofPiece: piece)
      let from = max(start, bytes.lowerBound)
      let to = min(end(piece), bytes.upperBound)
      if hasInMemory(piece, upTo: to) {
        let block = memory.read(piece, toItsEnd: to == end(piece))
        segments.append(.memory(block, offset: Int(from - start), count: Int(to - from)))
      } else if case .disk(let offset, let count) = segments.last, offset + UInt64(count) == from {
        segments[segments.count - 1] = .disk(offset: offset, count: count + Int(to - from))
      } else {
        segments.append(.disk(offset: from, count: Int(to - from)))
      }
    }
    return segments
  }

  /// The blocks of a range that is all in memory, in order: the block, and the place and number of its bytes. Counts
  /// as a read of it, and allocates nothing.
  mutating func forEachBlock(
    of bytes: Range<UInt64>, _ body: (BlockPool.Block, _ offset: Int, _ count: Int) -> Void
  ) {
    for piece in Geometry.pieces(covering: bytes) {
      let start = Geometry.start(ofPiece: piece)
      let from = max(start, bytes.lowerBound)
      let to = min(end(piece), bytes.upperBound)
      let block = memory.read(piece, toItsEnd: to == end(piece))
      body(block, Int(from - start), Int(to - from))
    }
  }

  // MARK: Arrivals

  /// Bytes of a fetch have arrived up to `position`, in `blocks` from its first piece on. Returns pieces that may be
  /// evicted, as the disk does not take them.
  mutating func arrived(
    _ news: FetchList.Arrival, upTo position: UInt64, in blocks: [BlockPool.Block]
  ) -> [Int] {
    for piece in news.touched {
      let length = Geometry.length(ofPiece: piece, size: size)
      let filled = min(length, Int(position - Geometry.start(ofPiece: piece)))
      memory.fill(piece, of: blocks[piece - news.record.pieces.lowerBound], to: filled)
    }
    let isWritten = disk.writes == .taken
    for piece in news.completed {
      memory.complete(piece, isPlanned: news.record.isPrefetch, isDirty: isWritten)
    }
    return isWritten ? [] : memory.listEvictable(news.completed)
  }

  /// A fetch is over: what it has not completed goes. Returns blocks that are to be released.
  mutating func removeUnfinished(of fetch: FetchRecord, hasFailed: Bool) -> [BlockPool.Block] {
    guard fetch.hasBegun else { return [] }
    if hasFailed, isSmall {
      // Half of a small object is of no use: it is written whole or not at all.
      memory.forgetDirty()
      return memory.remove(fetch.pieces)
    }
    return memory.remove(
      fetch.pieces.filter { memory.isHeld($0) && !memory.isComplete($0) })
  }

  // MARK: Eviction

  /// Takes a piece off the memory tier's list and out of memory. `nil`: it is gone already, or must stay.
  mutating func evict(_ piece: Int) -> BlockPool.Block? {
    memory.unlist(piece)
    return memory.isEvictable(piece) ? memory.remove([piece]).first : nil
  }

  /// Takes out of memory what it alone holds and no reader waits for. Returns the bytes and the blocks.
  mutating func dropFromMemory() -> (UInt64, [BlockPool.Block]) {
    let idle = memory.pieces.keys.filter { memory.isEvictable($0) }
    return (bytes(of: idle), memory.remove(idle))
  }

  /// Bytes of complete pieces in memory.
  var bytesInMemory: UInt64 { bytes(of: memory.pieces.keys.filter { memory.isComplete($0) }) }

  private func bytes(of pieces: [Int]) -> UInt64 {
    pieces.reduce(0) { $0 + UInt64(Geometry.length(ofPiece: $1, size: size)) }
  }

  /// Bytes that the disk lacks of `pieces`, with their records and the head of a new file; nil: it has no part in it.
  func bytesMissing(of pieces: Range<Int>) -> UInt64? {
    guard disk.isCounted else { return nil }
    var bytes: UInt64 = 0
    for piece in pieces where !memory.isHeld(piece) && !disk.presence.isPresent(piece) {
      bytes += UInt64(Geometry.length(ofPiece: piece, size: size) + PieceRecord.size)
    }
    return bytes > 0 && disk.copy == nil ? bytes + DiskWriter.sidecarHead : bytes
  }
}
