import ObjectStore

/// What a directory cache is told, and what it answers.
extension DirectoryCache {
  /// How a directory's listing is to be had.
  enum Access {
    /// It is valid.
    case cached(DirectoryListing)
    /// It is being fetched. `resume`: goes on with a fetch that waited for a reader, to be called by the caller. It is
    /// handed out with the listing, so that whatever becomes of that cannot lose it.
    case joined(DirectoryListing, resume: (@Sendable () -> Void)?)
    /// It is to be fetched, by the caller.
    case begun(DirectoryListing)

    var listing: DirectoryListing {
      switch self {
      case .cached(let listing), .joined(let listing, _), .begun(let listing): listing
      }
    }
  }

  /// What a complete listing is to its directory.
  enum Completion {
    /// The first one.
    case first
    /// Another than the one before, which left the cache.
    case changed(from: DirectoryListing)
    /// The same as the one before, which stays and is as fresh as this one, which left the cache.
    case same(as: DirectoryListing)
    /// The directory no longer waits for it.
    case unwanted
  }

  /// Makes a listing that is to be fetched: with its number, its directory, and whether it is ahead of need.
  typealias Maker = (ListingID, ObjectKey, _ isAhead: Bool) -> DirectoryListing

  /// What the caller knows of inodes.
  struct References {
    /// The kernel refers to entries of the listing.
    var has: (DirectoryListing) -> Bool
    /// There are inodes of the directory that are not in its listing.
    var hasUnlisted: (ObjectKey) -> Bool
    /// What goes with a listing, its entries aside.
    var bytes: (DirectoryListing) -> Int
  }

  struct Eviction {
    /// They left the cache.
    var dropped: [DirectoryListing] = []
    /// The kernel is to forget their names; they are dropped when it has.
    var releasing: [DirectoryListing] = []
  }
}
