import ObjectStore
import Posix

/// What a lookup found, and when the store was asked.
struct LookupResult {
  enum What {
    case absent
    /// An entry of a listing.
    case listed(DirectoryListing, Int)
    case asked(Observation)
  }

  var what: What
  var at: Instant

  var seen: Observation? {
    switch what {
    case .absent: nil
    case .listed(let listing, let entry): listing[entry].seen
    case .asked(let seen): seen
    }
  }
}

extension DirectoryListing {
  /// What a listing tells of a name.
  enum Outcome {
    case decided(LookupResult)
    /// A file, of which the listing does not know enough.
    case needsHead
    case undecided
  }

  func outcome(of name: [UInt8]) -> Outcome {
    switch find(name) {
    case .absent: .decided(LookupResult(what: .absent, at: started))
    case .entry(let entry) where self[entry].entry.flags.contains(.needsHead): .needsHead
    case .entry(let entry): .decided(LookupResult(what: .listed(self, entry), at: started))
    case .undecided: .undecided
    }
  }
}
