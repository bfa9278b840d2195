/// How urgent a fetch is, the most urgent first.
public enum FetchRank: Int, Sendable, Comparable, CaseIterable {
  /// A reader waits.
  case demand
  /// A sequence will come to it in a moment.
  case ahead
  /// It is announced as read later: by an access order or a warm-up.
  case planned
  /// It may be read: the rest of a data set that is being walked.
  case fill

  public static func < (left: FetchRank, right: FetchRank) -> Bool {
    left.rawValue < right.rawValue
  }
}
