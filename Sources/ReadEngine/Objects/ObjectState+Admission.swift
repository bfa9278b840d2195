/// Pieces that admitted reads need: they stay in memory until the read is over.

/// A parked read that may hold memory.
struct AdmittedRead {
  var ticket: ReadAdmission.Ticket
  /// Those that its bytes lie in.
  var pieces: Range<Int>
}

extension ObjectState {
  /// Blocks that a read takes at most: a small object is fetched whole.
  func blocksNeeded(for bytes: Range<UInt64>) -> Int {
    isSmall ? pieceCount : Geometry.pieces(covering: bytes).count
  }

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

  /// Memory alone holds the piece, and no reader waits for it.
  func isEvictable(_ piece: Int) -> Bool {
    guard let held = memory[piece] else { return false }
    return held.isComplete && !held.isDirty && !isNeeded(piece)
  }

  /// Those of `pieces` that may be evicted and are not on the memory tier's list: the caller puts them there.
  mutating func listEvictable(_ pieces: some Sequence<Int>) -> [Int] {
    var listed: [Int] = []
    for piece in pieces where isEvictable(piece) && !memory[piece]!.isListed {
      memory[piece]!.isListed = true
      listed.append(piece)
    }
    return listed
  }

  /// What of `pieces`, all of them missing, admitted reads wait for: the first one's, and what is next to that. At
  /// most `limit`; nil if none of them does.
  func needed(of pieces: Range<Int>, limit: Int) -> Range<Int>? {
    let reads = admitted.lazy.map { $0.pieces.clamped(to: pieces) }.filter { !$0.isEmpty }
    guard var needed = reads.first else { return nil }
    if isSmall { return pieces }
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

  mutating func takeWaiter(_ ticket: ReadAdmission.Ticket) -> Waiter? {
    guard let index = waiters.firstIndex(where: { $0.ticket == ticket }) else { return nil }
    return waiters.remove(at: index)
  }
}
