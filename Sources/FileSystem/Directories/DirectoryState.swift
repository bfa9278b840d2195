import ObjectStore
import Posix

/// What is known of one directory.
struct DirectoryState {
  /// The newest complete listing.
  var listing: DirectoryListing?
  /// The one that is being fetched.
  var fetching: DirectoryListing?
  /// Listings that started before are no longer valid: an object was seen to differ, or a user said so.
  var invalidBefore = Instant(nanoseconds: 0)
  var lastUsed = Instant(nanoseconds: 0)
  /// When the kernel was asked to forget its names, so that the listing can be dropped.
  var releasing: Instant?
  /// It was listed before any caller requested it, and none has yet.
  var isAhead = false
  /// Lookups that had to ask the store one by one since `lookupsSince`.
  private(set) var lookups = 0
  private var lookupsSince = Instant(nanoseconds: 0)

  /// A dictionary's slot, the key and the listing's own objects.
  static let cost = MemoryLayout<(ObjectKey, DirectoryState)>.stride * 4 / 3 + 96 + 400

  /// Two lookups are often all that happens (a path is resolved); a third means work in the directory.
  static let lookupsBeforeListing = 3

  /// Whether it may as well not be there.
  var isDefault: Bool {
    listing == nil && fetching == nil && invalidBefore.nanoseconds == 0 && lookups == 0
  }

  func isFresh(_ listing: DirectoryListing, ttl: Duration, now: Instant) -> Bool {
    now < listing.started + ttl && listing.started >= invalidBefore
  }

  /// The newest listing, if it is valid.
  func freshListing(ttl: Duration, now: Instant) -> DirectoryListing? {
    listing.flatMap { isFresh($0, ttl: ttl, now: now) ? $0 : nil }
  }

  /// Whether a listing is the newest one or the one being fetched.
  func has(_ other: DirectoryListing) -> Bool { listing === other || fetching === other }

  /// A lookup is answered by its listing. True: it was listed ahead, and this is the first use of it.
  mutating func use(at now: Instant) -> Bool {
    lastUsed = now
    defer { isAhead = false }
    return isAhead
  }

  /// Counts a lookup that has no listing to answer it; true when they repeat so that a listing is
  /// the cheaper way.
  mutating func countLookup(ttl: Duration, now: Instant) -> Bool {
    if now >= lookupsSince + ttl {
      lookups = 0
      lookupsSince = now
    }
    lookups += 1
    return lookups >= Self.lookupsBeforeListing
  }
}
