/// What memory holds of one object: blocks that arrive or are complete, what of them waits to be written, and what
/// admitted reads need.
struct ObjectMemory {
  let pieceCount: Int
  let isSmall: Bool
  private(set) var pieces: [Int: MemoryPiece] = [:]
  /// Complete pieces that wait for the disk writer.
  private(set) var dirty: [Int] = []
  /// Reads that may hold memory, in the order in which they were admitted.
  private(set) var admitted: [AdmittedRead] = []
  /// False only where a test plants a bug.
  let protectsReads: Bool

  init(pieceCount: Int, isSmall: Bool, protectsReads: Bool) {
    self.pieceCount = pieceCount
    self.isSmall = isSmall
    self.protectsReads = protectsReads
  }

  // MARK: Pieces

  func isHeld(_ piece: Int) -> Bool { pieces[piece] != nil }
  func isComplete(_ piece: Int) -> Bool { pieces[piece]?.isComplete ?? false }
  func isListed(_ piece: Int) -> Bool { pieces[piece]?.isListed ?? false }

  var completeCount: Int { pieces.values.count { $0.isComplete } }

  /// Every piece of the object, or none.
  var isAllOrNothing: Bool {
    pieces.isEmpty || pieces.count == pieceCount && pieces.values.allSatisfy { $0.isComplete }
  }

  /// The first `filled` bytes of the piece have arrived in `block`.
  mutating func fill(_ piece: Int, of block: BlockPool.Block, to filled: Int) {
    pieces[piece, default: MemoryPiece(block: block)].filled = filled
  }

  /// The piece has all of its bytes. `isDirty`: it is to be written to disk.
  mutating func complete(_ piece: Int, isPlanned: Bool, isDirty: Bool) {
    pieces[piece]!.isComplete = true
    pieces[piece]!.isPlanned = isPlanned
    guard isDirty else { return }
    pieces[piece]!.isDirty = true
    dirty.append(piece)
  }

  /// The block of a piece that a reader reads now. On the path of a hit.
  mutating func read(_ piece: Int, toItsEnd: Bool) -> BlockPool.Block {
    pieces[piece]!.noteRead(toItsEnd: toItsEnd)
    return pieces[piece]!.block
  }

  /// Takes pieces out of memory; their blocks are the caller's to release.
  mutating func remove(_ gone: some Sequence<Int>) -> [BlockPool.Block] {
    gone.compactMap { pieces.removeValue(forKey: $0)?.block }
  }

  // MARK: Writing

  /// A small object is written whole, a large one as its pieces come.
  var isReadyToWrite: Bool { isSmall ? dirty.count == pieceCount : !dirty.isEmpty }

  /// Up to `limit` pieces to write now, in order; a small object in one go. They stay as they are until they are
  /// cleaned or removed.
  mutating func nextBatch(limit: Int) -> [Int] {
    dirty.sort()
    let count = isSmall ? dirty.count : min(dirty.count, limit)
    defer { dirty.removeFirst(count) }
    return Array(dirty.prefix(count))
  }

  /// Has what is complete and not on disk written.
  mutating func writeWhatIsHeld(unless isOnDisk: (Int) -> Bool) {
    let held = pieces.filter { $0.value.isComplete && !$0.value.isDirty }.map(\.key)
    for piece in held where !isOnDisk(piece) {
      pieces[piece]!.isDirty = true
      dirty.append(piece)
    }
  }

  /// These are not written: they may go when memory is short.
  mutating func clean(_ unwritten: [Int]) {
    for piece in unwritten { pieces[piece]?.isDirty = false }
  }

  /// Nothing that waits is written. Returns those pieces.
  mutating func cleanAll() -> [Int] {
    defer { dirty = [] }
    clean(dirty)
    return dirty
  }

  /// Nothing that waits is written, though it stays until its blocks are removed.
  mutating func forgetDirty() { dirty = [] }

  // MARK: Reads that hold memory

  /// The read may hold memory: what it has of its pieces, and what comes of them, stays.
  mutating func admit(_ ticket: ReadAdmission.Ticket, _ bytes: Range<UInt64>) {
    if admitted.contains(where: { $0.ticket == ticket }) { return }
    admitted.append(AdmittedRead(ticket: ticket, pieces: Geometry.pieces(covering: bytes)))
  }

  /// The read is over. Returns pieces that may be evicted from now on.
  mutating func endRead(_ ticket: ReadAdmission.Ticket) -> [Int] {
    guard let index = admitted.firstIndex(where: { $0.ticket == ticket }) else { return [] }
    return listEvictable(admitted.remove(at: index).pieces)
  }

  /// An admitted read needs the piece.
  func isNeeded(_ piece: Int) -> Bool {
    protectsReads && admitted.contains { $0.pieces.contains(piece) }
  }

  /// What of `missing` admitted reads wait for: the first one's, and what is next to that. At most `limit`; nil if
  /// none of them does.
  func needed(of missing: Range<Int>, limit: Int) -> Range<Int>? {
    let reads = admitted.lazy.map { $0.pieces.clamped(to: missing) }.filter { !$0.isEmpty }
    guard var needed = reads.first else { return nil }
    if isSmall { return missing }
    var hasGrown = true
    while hasGrown {
      hasGrown = false
      for read in reads
      where read.lowerBound <= needed.upperBound && needed.lowerBound <= read.upperBound {
        let both =
          min(read.lowerBound, needed.lowerBound)..<max(read.upperBound, needed.upperBound)
        if both != needed {
          needed = both
          hasGrown = true
        }
      }
    }
    return needed.prefix(limit)
  }

  // MARK: Eviction

  /// Memory alone holds the piece, and no reader waits for it.
  func isEvictable(_ piece: Int) -> Bool {
    guard let held = pieces[piece] else { return false }
    return held.isComplete && !held.isDirty && !isNeeded(piece)
  }

  /// Those of `candidates` that may be evicted and are not on the memory tier's list: the caller puts them there.
  mutating func listEvictable(_ candidates: some Sequence<Int>) -> [Int] {
    var listed: [Int] = []
    for piece in candidates where isEvictable(piece) && !pieces[piece]!.isListed {
      pieces[piece]!.isListed = true
      listed.append(piece)
    }
    return listed
  }

  /// Off the memory tier's list until it may go.
  mutating func unlist(_ piece: Int) { pieces[piece]?.isListed = false }

  /// How a piece stands by `policy`. `isDead`: its object is not open, and was last used too long ago to come back.
  /// `isRead`: a reader has it open.
  mutating func look(
    at piece: Int, _ policy: EvictionPolicy, isDead: Bool, isRead: Bool
  ) -> HeldLook {
    guard isEvictable(piece) else {
      unlist(piece)
      return .gone
    }
    if policy == .lru { return pieces[piece]!.lookForSecondChance() }
    if isDead { return .dead }
    return pieces[piece]!.look(isOpen: isRead)
  }
}

/// A parked read that may hold memory.
struct AdmittedRead {
  var ticket: ReadAdmission.Ticket
  /// Those that its bytes lie in.
  var pieces: Range<Int>
}
