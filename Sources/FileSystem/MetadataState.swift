import ObjectStore
import Posix

/// All that is known of names, and the lookups in flight: what one lock protects, since a lookup decides by all of it.
///
/// Pure: an event a method, the time is a parameter, and what is to be done is returned.
struct MetadataState {
  var names: NameTree
  var lookups = PendingLookups()
  /// Absences that the kernel remembers.
  var absent = AbsentNames()
  /// Whether the store begins a listing at the requested position, once that was seen.
  var beginsAnywhere: Bool?
  var isShutDown = false

  init(ttl: Duration) { names = NameTree(ttl: ttl) }

  /// What they occupy, entries of listings aside.
  var bytes: Int { names.inodes.bytes + absent.bytes + names.directories.bytes }

  // MARK: Lookup

  /// How a name is found.
  enum LookupStep {
    /// An earlier mount may have kept the directory's listing, and none is known: it is to be restored first.
    case restore
    case done(LookupResult)
    /// The directory's listing is in flight: its first page may have the answer.
    case join(DirectoryListing)
    /// The directory is to be listed, and the listing joined.
    case list
    /// The store is to be asked.
    case ask(number: UInt64, needsDirectory: Bool)
    /// Another caller asks it already: the waiter is called.
    case wait
    case shutDown
  }

  /// `mayWait`: a listing in flight may be waited for. `mayRestore`: one may be on the disk. `waiter` is called with the answer of the store where that is
  /// waited for.
  mutating func lookUp(
    _ name: [UInt8], in directory: ObjectKey, mayWait: Bool, mayRestore: Bool, now: Instant,
    _ waiter: @escaping PendingLookup.Waiter
  ) -> LookupStep {
    if isShutDown { return .shutDown }
    let isCaching = names.directories.ttl > .zero
    let known = names.directories[directory]
    if mayRestore, known?.listing == nil, known?.fetching == nil { return .restore }
    var needsDirectory = true
    if isCaching {
      let listing = known?.freshListing(ttl: names.directories.ttl, now: now)
      if let result = names.currentResult(directory, name, listing, now: now) {
        return .done(result)
      }
      if let listing {
        names.directories.use(directory, now: now)
        switch listing.outcome(of: name) {
        case .decided(let result): return .done(result)
        case .needsHead: needsDirectory = false
        case .undecided: break
        }
      }
    }
    let path = directory + name
    var mayWait = mayWait
    var waiters = [waiter]
    switch lookups.join(path, validSince: known?.invalidBefore, waiter) {
    case .joined: return .wait
    case .none: break
    case .outdated(let earlier):
      waiters = earlier + waiters
      mayWait = false
    }
    if needsDirectory && mayWait && isCaching,
      let step = waitForListing(name, of: directory, now: now)
    {
      return step
    }
    let number = lookups.begin(path, needsDirectory: needsDirectory, waiters, now: now)
    return .ask(number: number, needsDirectory: needsDirectory)
  }

  /// A listing in flight, or one that is worth it since lookups repeat; nil if the store is to be asked.
  private mutating func waitForListing(
    _ name: [UInt8], of directory: ObjectKey, now: Instant
  ) -> LookupStep? {
    let known = names.directories[directory]
    guard let known, let fetching = known.fetching else {
      return names.directories.countLookup(in: directory, now: now) ? .list : nil
    }
    guard fetching.started >= known.invalidBefore else { return nil }
    if case .decided(let result) = fetching.outcome(of: name) { return .done(result) }
    return fetching.hasPages ? nil : .join(fetching)
  }

  // MARK: Listings

  /// The listing of a directory, pinned if it is opened. Returns as well one that was in flight and may not be joined.
  mutating func requestListing(
    of directory: ObjectKey, isOpened: Bool, now: Instant, make: DirectoryCache.Maker
  ) -> (access: DirectoryCache.Access, abandoned: DirectoryListing?) {
    let unusable = names.directories.unusableFetch(of: directory, now: now)
    if let unusable { names.abandon(unusable) }
    let access = names.directories.request(directory, isOpened: isOpened, now: now, make: make)
    if isOpened { access.listing.pin() }
    return (access, unusable)
  }

  /// Begins a listing of a directory, whatever is known of it. Returns as well one that was in flight, and the newest.
  mutating func relist(
    _ directory: ObjectKey, now: Instant, make: DirectoryCache.Maker
  ) -> (listing: DirectoryListing, abandoned: DirectoryListing?, old: DirectoryListing?) {
    let fetching = names.directories[directory]?.fetching
    if let fetching { names.abandon(fetching) }
    names.directories.invalidate(directory, before: now)
    let listing = names.directories.begin(directory, isAhead: false, now: now, make: make)
    return (listing, fetching, names.directories[directory]?.listing)
  }

  /// Names of a directory that its listing has and the kernel remembers as absent: taken out, to be dropped there.
  mutating func removeAppeared(in directory: ObjectKey) -> [[UInt8]] {
    guard let listing = names.directories[directory]?.listing else { return [] }
    return absent.remove(in: directory) { name in
      name.withUnsafeBytes { listing.shown($0) } != nil
    }
  }

  /// Begins listings of what a traversal that has come to a directory will come to next, as far as that was earned.
  /// `held`: bytes of all listings; `limit`: bytes that those ahead of need may have.
  mutating func listAhead(
    of directory: ObjectKey, root: ObjectKey, held: Int, limit: Int, now: Instant,
    isKept: (ObjectKey) -> Bool, make: DirectoryCache.Maker
  ) -> [DirectoryListing] {
    // What is listed ahead pushes out what was used longest ago, but not each other.
    let usual = max(1, held / max(1, names.directories.count))
    let allowance = min(names.directories.credit.allowance, limit / usual)
    guard allowance > 0, !isShutDown else { return [] }
    let next = names.directories.following(
      directory, root: root, wanted: allowance, now: now, isKept: isKept)
    return next.map { names.directories.begin($0, isAhead: true, now: now, make: make) }
  }

  // MARK: Invalidation

  typealias Names = (directory: ObjectKey, names: [[UInt8]])

  /// What is known below a prefix is no longer valid, nor of the name itself. Returns the number of listings that this
  /// affects, and the names that the kernel is to drop.
  mutating func invalidate(
    below prefix: ObjectKey, parent: (directory: ObjectKey, name: [UInt8])?, now: Instant
  ) -> (listings: Int, names: [Names]) {
    var touched = names.directories.keys { key, _ in key.hasPrefix(prefix) }
    // Nothing below (a file, or a directory that was not looked into), or nothing known under the name: the
    // directory that has it is requested again.
    if let (directory, name) = parent, names.directories[directory] != nil,
      touched.isEmpty || isAbsent(name, in: directory)
    {
      touched.append(directory)
    }
    var listings = 0
    for directory in touched {
      if names.directories[directory]?.listing != nil { listings += 1 }
      names.directories.invalidate(directory, before: now)
    }
    var dropped = touched.map { Names($0, names.namesWithInodes(in: $0)) }
    let invalid = Set(touched)
    dropped += absent.remove { $0.hasPrefix(prefix) || invalid.contains($0) }
    if let (directory, name) = parent, absent.remove(name, in: directory) {
      dropped.append((directory, [name]))
    }
    return (listings, dropped)
  }

  /// Single names that were looked up below a prefix in directories that are not listed are no longer valid. Returns
  /// the names that the kernel is to drop.
  mutating func invalidateUnlisted(below prefix: ObjectKey, now: Instant) -> [Names] {
    let unlisted = names.directories.keys { $0.hasPrefix(prefix) && $1.listing == nil }
    for directory in unlisted { names.directories.invalidate(directory, before: now) }
    // Of a listed directory, the listing that comes says which are still absent.
    let gone = absent.remove {
      $0.hasPrefix(prefix) && names.directories[$0]?.listing == nil
    }
    return unlisted.map { Names($0, Array(names.inodes.unlisted(in: $0).keys)) } + gone
  }

  /// An object is no longer of a version that was read. Returns the inode that is stale by it.
  mutating func objectChanged(
    _ name: [UInt8], in directory: ObjectKey, from read: Observation, now: Instant
  ) -> NodeID? {
    names.directories.invalidate(directory, before: now)
    guard let inode = names.current(directory, name) else { return nil }
    // The path may have moved on to the newer version before.
    return names.seen(inode).isSameVersion(as: read) ? names.expire(inode) : nil
  }

  /// The directory's listing does not have the name.
  private func isAbsent(_ name: [UInt8], in directory: ObjectKey) -> Bool {
    guard let listing = names.directories[directory]?.listing else { return false }
    return name.withUnsafeBytes { listing.shown($0) } == nil
  }
}
