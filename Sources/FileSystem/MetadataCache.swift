import Metrics
import ObjectStore
import Posix

/// The lock around `MetadataState`: each method takes it, asks the state, and returns what is to be done.
///
/// Nothing is called out of here, so that any part and any thread may call it, and nothing else is done under the lock.
final class MetadataCache: Sendable {
  private let context: MountContext
  private let state: Lock<MetadataState>
  /// What the entries of listings occupy.
  private let account = ByteAccount()
  let attributes: AttributeMaker

  init(_ context: MountContext) {
    self.context = context
    attributes = AttributeMaker(context.options)
    state = Lock(MetadataState(ttl: context.options.metadataTTL))
  }

  // MARK: Lookup

  /// See `MetadataState.lookUp`.
  func lookUp(
    _ name: [UInt8], in directory: ObjectKey, mayWait: Bool, mayRestore: Bool,
    _ waiter: @escaping PendingLookup.Waiter
  ) -> MetadataState.LookupStep {
    let now = context.now
    return state.withLock {
      $0.lookUp(name, in: directory, mayWait: mayWait, mayRestore: mayRestore, now: now, waiter)
    }
  }

  /// See `PendingLookups.advance`.
  func advance(
    _ path: ObjectKey, number: UInt64, _ change: (inout PendingLookup) -> Void
  ) -> (answer: Result<LookupResult, StoreError>, waiters: [PendingLookup.Waiter])? {
    state.withLock { $0.lookups.advance(path, number: number, change) }
  }

  /// See `MetadataState.answer`.
  func answer(
    _ result: LookupResult, _ name: [UInt8], in directory: ObjectKey
  ) -> (answer: LookupAnswer, replaced: NodeID?) {
    let now = context.now
    return state.withLock { $0.answer(result, name, in: directory, now: now, attributes) }
  }

  // MARK: Inodes

  /// What was seen of an inode; nil once the kernel does not refer to it.
  func resolve(_ node: NodeID) -> Node? { state.withLock { $0.names.resolve(node) } }

  /// Gives references back.
  func release(_ node: NodeID, count: UInt64) {
    let dropped = state.withLock { $0.names.release(node, count: count) }
    // Its memory goes at the end of this, outside the lock.
    if dropped != nil { context.metrics.metadata.listedDirectories.add(-1) }
  }

  /// See `MetadataState.retain`.
  func retain(
    _ entries: DirectoryListing.Slice, of listing: DirectoryListing, from index: Int,
    where isWanted: (DirentBlock.Entry) -> Bool
  ) -> (attributes: [NodeAttributes?], replaced: [NameTree.Replaced]) {
    let now = context.now
    return state.withLock {
      $0.retain(entries, of: listing, from: index, where: isWanted, now: now, attributes)
    }
  }

  /// Takes in what was found under the path of an inode. Returns the inode as it is then known, and the one that is
  /// stale by it.
  func observe(_ result: LookupResult, of node: NodeID, at path: Node) -> (Node?, NodeID?) {
    state.withLock { state in
      let replaced = state.names.observe(path.directory, path.name, result)
      return (state.names.resolve(node), replaced)
    }
  }

  /// See `MetadataState.objectChanged`.
  func objectChanged(
    _ name: [UInt8], in directory: ObjectKey, from read: Observation
  ) -> NodeID? {
    let now = context.now
    return state.withLock { $0.objectChanged(name, in: directory, from: read, now: now) }
  }

  /// Nil once it is stale or not referred to.
  func currentAttributes(of node: NodeID) -> NodeAttributes? {
    let now = context.now
    return state.withLock { state in
      guard let inode = state.names.inodes.resolve(node), !state.names.inodes.isStale(inode) else {
        return nil
      }
      return attributes.attributes(of: inode, in: state.names, now: now)
    }
  }

  /// Those of an inode in a valid listing, without building its path.
  func freshAttributes(of node: NodeID) -> NodeAttributes? {
    let now = context.now
    return state.withLock { state in
      guard let inode = state.names.inodes.resolve(node),
        case .listed(let id, _) = state.names.inodes.location(of: inode),
        case let listing = state.names.directories[id],
        state.names.directories.freshListing(of: listing.directory, now: now) === listing
      else { return nil }
      return attributes.attributes(of: inode, in: state.names, now: now)
    }
  }

  // MARK: Listings

  /// The listing of a directory, for a caller that waits for it; pinned if it is opened. Returns as well one in flight
  /// that the directory no longer waits for. Nil when shutting down.
  func requestListing(
    of directory: ObjectKey, isOpened: Bool
  ) -> (access: DirectoryCache.Access, abandoned: DirectoryListing?)? {
    let now = context.now
    return state.withLock { state in
      if state.isShutDown { return nil }
      return state.requestListing(
        of: directory, isOpened: isOpened, now: now, make: maker(at: now))
    }
  }

  /// See `MetadataState.relist`. Nil when shutting down.
  func relist(
    _ directory: ObjectKey
  ) -> (listing: DirectoryListing, abandoned: DirectoryListing?, old: DirectoryListing?)? {
    let now = context.now
    return state.withLock { state in
      state.isShutDown ? nil : state.relist(directory, now: now, make: maker(at: now))
    }
  }

  /// See `MetadataState.listAhead`. `isKept` is called under the lock.
  func listAhead(
    of directory: ObjectKey, isKept: (ObjectKey) -> Bool
  ) -> [DirectoryListing] {
    let now = context.now
    let limit = context.options.metadataLimit / 4
    return state.withLock {
      $0.listAhead(
        of: directory, root: context.paths.root, held: account.bytes, limit: limit, now: now,
        isKept: isKept, make: maker(at: now))
    }
  }

  /// Listings made ahead that no reader requested in time no longer count as ahead. Returns those that waited in the
  /// middle: their directories no longer wait for them.
  func expireAhead() -> [DirectoryListing] {
    let now = context.now
    return state.withLock { state in
      let expired = state.names.directories.expireAhead(now: now)
      for listing in expired { state.names.abandon(listing) }
      return expired
    }
  }

  /// See `TraversalCredit.spendPage`.
  func spendPage() -> Bool { state.withLock { $0.names.directories.credit.spendPage() } }

  /// Whether the store begins a listing at the requested position; nil: not seen yet.
  var beginsAnywhere: Bool? {
    get { state.withLock { $0.beginsAnywhere } }
    set { state.withLock { $0.beginsAnywhere = newValue } }
  }

  /// A listing has all its pages. Returns the inodes that are stale by it, and names that the kernel remembers as
  /// absent and that it has.
  func complete(
    _ listing: DirectoryListing
  ) -> (replaced: [NameTree.Replaced], appeared: [[UInt8]]) {
    let (completed, appeared) = state.withLock { state in
      let completed = state.names.complete(listing)
      return (completed, completed == nil ? [] : state.removeAppeared(in: listing.directory))
    }
    if completed?.isFirst == true { context.metrics.metadata.listedDirectories.add(1) }
    return (completed?.replaced ?? [], appeared)
  }

  /// See `NameTree.abandon`.
  func abandon(_ listing: DirectoryListing) { state.withLock { $0.names.abandon(listing) } }

  /// A listing that an earlier mount kept, `age` nanoseconds old at `now`. True: it is its directory's from now on.
  func restore(
    _ directory: ObjectKey, entries: DirentTable, hidden: Int, age: Int64, at now: Instant
  ) -> Bool {
    guard age >= 0, UInt64(age) <= now.nanoseconds else { return false }
    let started = Instant(nanoseconds: now.nanoseconds - UInt64(age))
    return state.withLock { state in
      state.names.directories.restore(directory, started: started, now: now) {
        DirectoryListing(
          id: $0, directory: directory, started: started, entries: entries, hidden: hidden,
          account: account)
      }
    }
  }

  private func maker(at now: Instant) -> DirectoryCache.Maker {
    { [account, store = context.store] id, directory, isAhead in
      DirectoryListing(
        id: id, directory: directory, started: now,
        listingHasAttributes: store.traits.listingHasAttributes, isAhead: isAhead,
        account: account)
    }
  }

  /// The newest listing of a directory, or the one in flight.
  func newestListing(of directory: ObjectKey) -> DirectoryListing? {
    state.withLock { state in
      state.names.directories[directory].flatMap { $0.listing ?? $0.fetching }
    }
  }

  /// Valid listings, and how old each is.
  func freshListings() -> [(listing: DirectoryListing, age: Duration)] {
    let now = context.now
    return state.withLock { $0.names.directories.freshListings(now: now) }
      .map { ($0, now - $0.started) }
  }

  /// The keys of directories that are listed and below a prefix.
  func listedDirectories(below prefix: ObjectKey) -> [ObjectKey] {
    state.withLock { $0.names.directories.listed(below: prefix) }
  }

  /// Drops listings that no reader has open, if more than `limit` bytes are occupied. Nil: they are not.
  func evict(limit: Int) -> DirectoryCache.Eviction? {
    let now = context.now
    let held = account.bytes
    return state.withLock { state in
      let excess = held + state.bytes - limit
      // A tenth more than needed, so that the next page does not search again.
      return excess > 0 ? state.names.evict(excess: excess + limit / 10, now: now) : nil
    }
  }

  // MARK: What the kernel has

  /// The kernel's number of a directory; nil if it has none.
  func nodeID(of directory: ObjectKey) -> NodeID? {
    state.withLock { $0.names.nodeID(of: directory, root: context.paths.root) }
  }

  /// Whether an entry of a listing has an inode.
  func hasInode(_ entry: Int, of listing: DirectoryListing) -> Bool {
    state.withLock { $0.names.inodes.inode(atEntry: entry, of: listing.id) != nil }
  }

  /// Every name of a directory that is known.
  func allNames(in directory: ObjectKey) -> [[UInt8]] {
    state.withLock { $0.names.allNames(in: directory) }
  }

  /// All absences that the kernel remembers: they are no longer known here.
  func removeAbsent() -> [MetadataState.Names] {
    state.withLock { $0.absent.remove { _ in true } }
  }

  /// See `MetadataState.invalidate`.
  func invalidate(
    below prefix: ObjectKey, parent: (directory: ObjectKey, name: [UInt8])?
  ) -> (listings: Int, names: [MetadataState.Names]) {
    let now = context.now
    return state.withLock { $0.invalidate(below: prefix, parent: parent, now: now) }
  }

  /// See `MetadataState.invalidateUnlisted`.
  func invalidateUnlisted(below prefix: ObjectKey) -> [MetadataState.Names] {
    let now = context.now
    return state.withLock { $0.invalidateUnlisted(below: prefix, now: now) }
  }

  func statistics() -> FileSystemStatistics {
    var statistics = FileSystemStatistics()
    state.withLock { state in
      statistics.nodes = state.names.inodes.count
      statistics.listedDirectories = state.names.directories.listedCount
      statistics.bytes = state.bytes
    }
    statistics.bytes += account.bytes
    statistics.limit = context.options.metadataLimit
    return statistics
  }

  /// As it is now: a value, for tests.
  func copy() -> MetadataState { state.withLock { $0 } }

  /// From now on nothing is looked up or listed. Returns those who wait for a lookup.
  func shutDown() -> [PendingLookup.Waiter] {
    state.withLock { state in
      state.isShutDown = true
      return state.lookups.removeAll()
    }
  }
}
