/// How far the readers of one order are apart, learnt from their opens: what lies further behind the front will not
/// be opened any more. Pure.
///
/// Workers that take a batch each are apart by batches, ranks that share an order perhaps by half of it. So the
/// patience is twice what was seen of late, and shrinks only while readers open lines that the full window kept
/// from being fetched and no reader was seen that far behind.
struct ReaderSpread {
  /// Lines, before anything was seen: 8 workers with batches of 8.
  static let usual = 64
  static let least = 4
  /// Opens without a reader that far behind, before the patience is halved: an eighth of it, at most and at least.
  private static let calm = 2...64

  /// Lines behind the front that are waited for.
  private(set) var patience = usual
  private var confirmedAt = 0
  /// Opens one after the other that a full window kept from being fetched.
  private var lateInARow = 0

  /// `behind`: lines behind the front, negative if it is the front. `isLate`: a full window kept it from being
  /// fetched. `count`: opens so far.
  mutating func opened(behind: Int, isLate: Bool, count: Int) {
    if behind > 0, behind >= patience / 4 {
      patience = max(patience, 2 * behind)
      confirmedAt = count
    }
    lateInARow = isLate ? lateInARow + 1 : 0
    guard isLate, count - confirmedAt >= calmNeeded else { return }
    patience = max(Self.least, patience / 2)
  }

  private var calmNeeded: Int {
    min(Self.calm.upperBound, max(Self.calm.lowerBound, patience / 8))
  }

  /// Whether lines further behind than the patience may be given up, so many lines in all. The more, the more late
  /// opens it takes: a reader far ahead of the others is no proof that those are gone.
  func mayPass(_ lines: Int) -> Bool {
    if patience < Self.usual, lines <= 4 * Self.usual { return true }
    return lateInARow >= min(16, max(2, lines / 16))
  }
}
