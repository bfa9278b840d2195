/// The rounds in which space is made for something: what to do next, by what came of the last step. Pure.
///
/// Each round frees what was missing when it began. A few bring it about against other users of the disk, and then it
/// cannot be won.
struct EvictionRounds {
  enum Step: Equatable {
    /// Find out what is missing: `measured` follows.
    case measure
    /// Take the space, which another may have taken meanwhile: `claimed` follows.
    case claim
    /// Have files go: `evicted` follows.
    case evict(SpaceBudget.Shortage)
    /// Have those close that are open only for later use, before new bytes stay out: `askedForIdleFiles` follows.
    case askForIdleFiles
    case end(Outcome)
  }

  enum Outcome: Equatable {
    case made
    /// What is there is worth more than what would come.
    case keeps
    /// What could go is held open, or others were faster each time.
    case inUse
  }

  private static let roundsMax = 4

  private var begun = 1
  private var hasAsked = false
  /// Nothing more is evicted: is there enough now?
  private var isLast = false

  /// Without all of a shortage nothing is claimed.
  mutating func measured(_ shortage: SpaceBudget.Shortage) -> Step {
    if shortage.bytes == 0 { return .claim }
    return isLast ? .end(.inUse) : .evict(shortage)
  }

  mutating func claimed(_ isClaimed: Bool) -> Step {
    if isClaimed { return .end(.made) }
    return isLast ? .end(.inUse) : nextRound()
  }

  mutating func evicted(_ choice: CacheIndex.Choice) -> Step {
    switch choice {
    case .victims: return nextRound()
    case .keeps: return .end(.keeps)
    case .inUse: return hasAsked ? lastRound() : .askForIdleFiles
    }
  }

  /// `isAsked` false: it is not time for that.
  mutating func askedForIdleFiles(_ isAsked: Bool) -> Step {
    hasAsked = true
    return isAsked ? nextRound() : lastRound()
  }

  private mutating func nextRound() -> Step {
    begun += 1
    isLast = begun > Self.roundsMax
    return .measure
  }

  private mutating func lastRound() -> Step {
    isLast = true
    return .measure
  }
}
