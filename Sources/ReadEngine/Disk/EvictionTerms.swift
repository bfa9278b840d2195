/// What a choice of victims goes by, and what comes of it.
extension CacheIndex {
  package struct Victim: Equatable {
    package var id: FileID
    package var bytes: UInt64
  }

  package enum Choice: Equatable {
    case victims([Victim])
    /// What is there is worth more than what would come.
    case keeps
    /// What could go is held open.
    case inUse
  }

  /// What the choice goes by, beside the index itself.
  package struct Terms {
    package var policy: EvictionPolicy
    /// Opens after which a file that was not opened is dead, 0 while nothing is known of that.
    package var deadAfter: Int64
    /// Only what was last used before this may go, on the clock of opens.
    package var usedBefore = Int64.max
    /// Of the file that would come: number of files that are read before it, nil if unknown.
    package var nextUse: Int?
    /// Of what would come, when it is used after that: a file of which it is known when it is read makes way only if
    /// it is read later. Nil: as `nextUse`.
    package var after: Int?
    /// Of a file that is there: number of files that are read before it, `Int.max` if it has been read and comes
    /// last again, nil if unknown.
    package var nextUseOf: (FileID) -> Int?

    package init(
      policy: EvictionPolicy, deadAfter: Int64, nextUse: Int? = nil,
      nextUseOf: @escaping (FileID) -> Int? = { _ in nil }
    ) {
      self.policy = policy
      self.deadAfter = deadAfter
      self.nextUse = nextUse
      self.nextUseOf = nextUseOf
    }
  }
}
