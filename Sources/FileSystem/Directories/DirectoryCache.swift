import ObjectStore
import Posix

/// The listings of directories: which one is newest and how long it is valid, which one is being fetched, which are to
/// be dropped.
///
/// Pure: it gets the time as a parameter, fetches nothing, and knows of inodes only what it is told. The listings
/// themselves are shared with their readers and fill up by themselves.
struct DirectoryCache {
  /// For how long a listing is valid.
  let ttl: Duration
  /// Listings ahead of need, and what they may cost.
  var credit = TraversalCredit()
  /// By the key of the directory, which ends in "/" (the root's may be empty).
  private var directories: [ObjectKey: DirectoryState] = [:]
  private var ids = ListingIDs()
  /// By slot: those that are some directory's newest, or are being fetched for it.
  private var listings: [DirectoryListing?] = [nil]

  init(ttl: Duration) { self.ttl = ttl }

  // MARK: State

  subscript(directory: ObjectKey) -> DirectoryState? { directories[directory] }

  /// A listing of this cache.
  subscript(id: ListingID) -> DirectoryListing { listings[Int(id.slot)]! }

  var count: Int { directories.count }
  var listedCount: Int { directories.values.count { $0.listing != nil } }
  /// What it occupies, entries of listings aside.
  var bytes: Int { directories.count * DirectoryState.cost }

  /// The keys of those that are listed and `below` a prefix.
  func listed(below prefix: ObjectKey) -> [ObjectKey] {
    keys { $0.hasPrefix(prefix) && $1.listing != nil }
  }

  /// The keys of those of which anything is known.
  func keys(where isWanted: (ObjectKey, DirectoryState) -> Bool) -> [ObjectKey] {
    directories.compactMap { isWanted($0.key, $0.value) ? $0.key : nil }
  }

  /// Those that are listed and valid.
  func freshListings(now: Instant) -> [DirectoryListing] {
    directories.values.compactMap { $0.freshListing(ttl: ttl, now: now) }
  }

  /// The newest listing of a directory, if it is valid.
  func freshListing(of directory: ObjectKey, now: Instant) -> DirectoryListing? {
    directories[directory]?.freshListing(ttl: ttl, now: now)
  }

  /// The listing that vouches for the entries of another one, at the same places: itself while it is its directory's,
  /// or a later one that has the same entries; nil where none does, or it is not valid any more.
  func valid(_ listing: DirectoryListing, now: Instant) -> DirectoryListing? {
    guard let known = directories[listing.directory],
      known.isFresh(listing, ttl: ttl, now: now)
    else { return nil }
    if known.has(listing) { return listing }
    guard let newest = known.listing, newest.hasSameEntries(as: listing) else { return nil }
    return newest
  }

  /// Makes sure that something is known of a directory.
  mutating func remember(_ directory: ObjectKey) {
    if directories[directory] == nil { directories[directory] = DirectoryState() }
  }

  /// Forgets a directory of which nothing is known.
  mutating func removeIfDefault(_ directory: ObjectKey) {
    if directories[directory]?.isDefault == true { directories[directory] = nil }
  }

  // MARK: Listings

  /// The listing of a directory, for a caller that waits for it. `isOpened`: the caller opens the directory.
  mutating func request(
    _ directory: ObjectKey, isOpened: Bool, now: Instant, make: Maker
  ) -> Access {
    var known = directories[directory] ?? DirectoryState()
    known.lastUsed = now
    if isOpened || known.isAhead { credit.opened(wasAhead: known.isAhead) }
    known.isAhead = false
    directories[directory] = known
    if let listing = known.listing, known.isFresh(listing, ttl: ttl, now: now) {
      return .cached(listing)
    }
    if let fetching = known.fetching { return .joined(fetching, resume: fetching.request()) }
    return .begun(begin(directory, isAhead: false, now: now, make: make))
  }

  /// Begins a listing of a directory that has none in flight.
  mutating func begin(
    _ directory: ObjectKey, isAhead: Bool, now: Instant, make: Maker
  ) -> DirectoryListing {
    let listing = make(ids.allocate(), directory, isAhead)
    keep(listing)
    directories[directory, default: DirectoryState()].fetching = listing
    directories[directory]?.lastUsed = now
    if isAhead {
      directories[directory]?.isAhead = true
      credit.begin(directory, at: now)
    }
    return listing
  }

  /// A listing that an earlier mount kept, if it is valid and nothing newer is known. True: it is the directory's.
  mutating func restore(
    _ directory: ObjectKey, started: Instant, now: Instant, make: (ListingID) -> DirectoryListing
  ) -> Bool {
    let known = directories[directory]
    guard known?.listing == nil, known?.fetching == nil, now < started + ttl,
      started >= known?.invalidBefore ?? started
    else { return false }
    let listing = make(ids.allocate())
    keep(listing)
    directories[directory, default: DirectoryState()].listing = listing
    // Whoever had it restored is about to use it.
    directories[directory]?.lastUsed = now
    return true
  }

  /// The listing has all its pages. The inodes of the listing that left the cache are to be moved by the caller, and
  /// its number is then released by `release`.
  mutating func complete(_ listing: DirectoryListing) -> Completion {
    let directory = listing.directory
    guard directories[directory]?.fetching === listing else { return .unwanted }
    directories[directory]?.fetching = nil
    directories[directory]?.releasing = nil
    guard let old = directories[directory]?.listing else {
      directories[directory]?.listing = listing
      return .first
    }
    if listing.hasSameEntries(as: old) {
      old.renew(from: listing)
      return .same(as: old)
    }
    directories[directory]?.listing = listing
    return .changed(from: old)
  }

  /// The directory no longer waits for a listing, which failed or is not valid. False: it did not. The number is
  /// released by the caller, once no inode has it.
  mutating func abandon(_ listing: DirectoryListing) -> Bool {
    let directory = listing.directory
    guard directories[directory]?.fetching === listing else { return false }
    directories[directory]?.fetching = nil
    listing.abandon()
    if directories[directory]?.isAhead == true {
      directories[directory]?.isAhead = false
      credit.wasted()
    }
    return true
  }

  /// A listing left the cache and no inode has it.
  mutating func release(_ listing: DirectoryListing) {
    guard listings[Int(listing.id.slot)] === listing else { return }
    listings[Int(listing.id.slot)] = nil
    ids.release(listing.id)
  }

  private mutating func keep(_ listing: DirectoryListing) {
    let slot = Int(listing.id.slot)
    while listings.count <= slot { listings.append(nil) }
    listings[slot] = listing
  }

  /// A lookup is answered by the listing of its directory.
  mutating func use(_ directory: ObjectKey, now: Instant) {
    if directories[directory]?.use(at: now) == true { credit.opened(wasAhead: true) }
  }

  /// Counts a lookup that has to ask the store; true: the directory is to be listed instead.
  mutating func countLookup(in directory: ObjectKey, now: Instant) -> Bool {
    var known = directories[directory] ?? DirectoryState()
    known.lastUsed = now
    defer { directories[directory] = known }
    return known.countLookup(ttl: ttl, now: now)
  }

  // MARK: Validity

  /// What was known of a directory before `now` is no longer valid.
  mutating func invalidate(_ directory: ObjectKey, before now: Instant) {
    directories[directory, default: DirectoryState()].invalidBefore = now
  }

  /// A listing in flight that may not be joined: it began before an object was seen to change and may show it as it
  /// was, or is complete, not taken over yet and no longer valid (a reader may have seen its end).
  func unusableFetch(of directory: ObjectKey, now: Instant) -> DirectoryListing? {
    guard let known = directories[directory], let fetching = known.fetching else { return nil }
    let isUsable =
      fetching.started >= known.invalidBefore
      && (!fetching.isComplete || known.isFresh(fetching, ttl: ttl, now: now))
    return isUsable ? nil : fetching
  }

  /// Listings made ahead that were not requested in time no longer count as ahead. Returns those that wait for a
  /// reader in the middle: they are to be abandoned.
  mutating func expireAhead(now: Instant) -> [DirectoryListing] {
    credit.removeOld(at: now).compactMap { directory in
      guard directories[directory]?.isAhead == true else { return nil }
      directories[directory]?.isAhead = false
      credit.wasted()
      return directories[directory]?.fetching.flatMap { $0.isPaused ? $0 : nil }
    }
  }

  // MARK: Eviction

  /// Before the kernel is asked again: it may be busy with other names, or have them open.
  static let releaseInterval = Duration.seconds(10)

  /// Drops listings, the longest unused first, until `excess` bytes are gone. What is being fetched stays, and what an
  /// open directory pins would not be freed by it.
  mutating func evict(excess: Int, now: Instant, _ references: References) -> Eviction {
    var left = excess
    var eviction = Eviction()
    for (key, known) in directories.sorted(by: { $0.value.lastUsed < $1.value.lastUsed }) {
      if left <= 0 { break }
      guard known.fetching == nil else { continue }
      if let listing = known.listing {
        if listing.isPinned { continue }
        left -= listing.bytes + references.bytes(listing)
        if references.has(listing) {
          if let asked = known.releasing, now < asked + Self.releaseInterval { continue }
          directories[key]?.releasing = now
          eviction.releasing.append(listing)
          continue
        }
        eviction.dropped.append(listing)
      }
      left -= DirectoryState.cost
      if known.isAhead { credit.wasted() }
      drop(key, hasUnlisted: references.hasUnlisted(key))
    }
    return eviction
  }

  /// The kernel no longer refers to a listing. True: it waited for that to be dropped, and was.
  mutating func dropIfReleased(_ listing: DirectoryListing, hasUnlisted: Bool) -> Bool {
    guard let known = directories[listing.directory], known.releasing != nil,
      known.listing === listing, !listing.isPinned
    else { return false }
    drop(listing.directory, hasUnlisted: hasUnlisted)
    return true
  }

  /// Forgets what is known of a directory; where there are unlisted inodes or a listing in flight, only the listing.
  private mutating func drop(_ directory: ObjectKey, hasUnlisted: Bool) {
    guard let known = directories[directory] else { return }
    if let listing = known.listing { release(listing) }
    if !hasUnlisted && known.fetching == nil {
      directories[directory] = nil
    } else {
      directories[directory]?.listing = nil
      directories[directory]?.releasing = nil
      directories[directory]?.isAhead = false
    }
  }
}
