import Posix

/// Makes space for what comes: evicts, and has files closed that are open only for later use. It holds nothing itself.
///
/// Called by the disk writer, by planned fetches, by loads and by stores that download files whole; never by a read.
struct Evictor: Sendable {
  let files: CacheFiles
  let notices: SpaceNotices

  /// Counts `bytes` more of a file that is open, once there is space for them. What is reserved for it is there.
  func grow(_ id: FileID, by bytes: UInt64, _ terms: CacheIndex.Terms) -> EvictionRounds.Outcome {
    makeSpace(terms, { files.shortage(of: bytes, for: id) }, claim: { files.grow(id, by: bytes) })
  }

  /// Reserves `bytes` for a file that is open. Files that are open for later use are closed for it now and then alone.
  func reserve(
    _ bytes: UInt64, for id: FileID, _ terms: CacheIndex.Terms
  ) -> EvictionRounds.Outcome {
    makeSpace(
      terms, asksAlways: false, { files.shortage(of: bytes) },
      claim: { files.reserve(bytes, for: id) })
  }

  /// Makes space for `bytes`, which nothing holds then.
  func free(_ bytes: UInt64, _ terms: CacheIndex.Terms) -> EvictionRounds.Outcome {
    makeSpace(terms, { files.shortage(of: bytes) }, claim: { true })
  }

  private func makeSpace(
    _ terms: CacheIndex.Terms, asksAlways: Bool = true, _ shortage: () -> SpaceBudget.Shortage,
    claim: () -> Bool
  ) -> EvictionRounds.Outcome {
    var rounds = EvictionRounds()
    var step = EvictionRounds.Step.measure
    while true {
      switch step {
      case .measure: step = rounds.measured(shortage())
      case .claim: step = rounds.claimed(claim())
      case .evict(let shortage): step = rounds.evicted(files.evict(shortage, terms))
      case .askForIdleFiles:
        step = rounds.askedForIdleFiles(notices.closeIdleFiles(isUrgent: asksAlways))
      case .end(let outcome): return outcome
      }
    }
  }
}
