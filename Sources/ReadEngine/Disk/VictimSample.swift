/// How far the index has come: time is counted in opens of files.
struct CacheClock {
  /// Opens so far.
  var now: Int64
  /// When a file of an earlier mount was opened again last: until then they are alive.
  var foundFromBefore: Int64
  /// In the index.
  var files: Int
}

/// The files of one sample, and which of them should go first. Pure.
struct VictimSample {
  private let terms: CacheIndex.Terms
  private let clock: CacheClock
  private let deadAfter: Int64
  private var best: (slot: Int, distance: Int, lastUse: Int64)?
  /// Files that would have gone but are open.
  private(set) var openCount = 0

  init(_ terms: CacheIndex.Terms, _ clock: CacheClock) {
    self.terms = terms
    self.clock = clock
    // Before anything came back, what was not opened while four times as many files were is as good as dead.
    deadAfter = terms.deadAfter > 0 ? terms.deadAfter : 4 * Int64(clock.files)
  }

  /// Where it is in the index; nil: none may go.
  var worst: Int? { best?.slot }

  /// The farthest goes, of those equally far the one that was not opened for longest.
  mutating func consider(_ entry: CacheEntry, at slot: Int) {
    if entry.isDying || entry.isPinned || entry.bytes == 0 { return }
    guard let distance = distance(entry) else { return }
    guard entry.opens == 0 else {
      openCount += 1
      return
    }
    if let best, best.distance > distance { return }
    if let best, best.distance == distance, best.lastUse <= entry.lastUse { return }
    best = (slot, distance, entry.lastUse)
  }

  /// How many files are read before one is again, at a guess; nil if it must stay.
  private func distance(_ entry: CacheEntry) -> Int? {
    if entry.lastUse >= terms.usedBefore { return nil }
    if terms.policy == .lru { return .max }
    if let known = terms.nextUseOf(entry.id) {
      return (terms.after ?? terms.nextUse).map { known > $0 } == true ? known : nil
    }
    if isDead(entry) { return .max }
    guard let ours = terms.nextUse, Int64(ours) < deadAfter else { return nil }
    return Int(clamping: deadAfter)
  }

  /// What an earlier mount left is as old as this one; as long as some of it is read now and then, it is not
  /// dead.
  private func isDead(_ entry: CacheEntry) -> Bool {
    if entry.isFromBefore { return clock.now - clock.foundFromBefore > 2 * Int64(clock.files) }
    return clock.now - max(0, entry.lastUse) > deadAfter
  }
}
