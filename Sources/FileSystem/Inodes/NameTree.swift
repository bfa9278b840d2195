import ObjectStore
import Posix

/// How inodes follow what the store shows: which one a name leads to, and which become stale.
///
/// Pure: the inode table and the directory cache, and the rules between them. A name has one inode that is not stale
/// at most. It is of the version that the path was last seen to have; one of another version is stale from the moment
/// that this is seen, and never comes back.
struct NameTree {
  var inodes = InodeTable()
  var directories: DirectoryCache

  init(ttl: Duration) { directories = DirectoryCache(ttl: ttl) }

  /// An inode that the kernel knows under a name that is no longer its own.
  struct Replaced: Equatable {
    var node: NodeID
    var name: [UInt8]
  }

  /// An inode with one reference more.
  struct Retained {
    var inode: InodeTable.Index
    /// The inode that the name led to before, and does no more.
    var replaced: NodeID?
  }

  // MARK: Resolving

  /// What was seen of an inode; nil once the kernel does not refer to it.
  func resolve(_ id: NodeID) -> Node? {
    guard let inode = inodes.resolve(id) else { return nil }
    switch inodes.location(of: inode) {
    case .unlisted(let unlisted):
      return Node(
        directory: unlisted.directory, name: unlisted.name, seen: unlisted.seen,
        isStale: unlisted.isStale)
    case .listed(let id, let entry):
      let listing = directories[id]
      let dirent = listing[entry]
      return Node(
        directory: listing.directory, name: Array(dirent.name), seen: dirent.seen, isStale: false)
    }
  }

  /// The version that an inode is of.
  func seen(_ inode: InodeTable.Index) -> Observation {
    switch inodes.location(of: inode) {
    case .unlisted(let unlisted): unlisted.seen
    case .listed(let id, let entry): directories[id][entry].seen
    }
  }

  /// When the store last showed the version of an inode.
  func checked(_ inode: InodeTable.Index) -> Instant {
    switch inodes.location(of: inode) {
    case .unlisted(let unlisted): unlisted.checked
    case .listed(let id, _):
      max(directories[id].started, inodes.confirmation(of: inode) ?? Instant(nanoseconds: 0))
    }
  }

  /// The inode of the version that a path was last seen to have.
  func current(_ directory: ObjectKey, _ name: [UInt8]) -> InodeTable.Index? {
    if let inode = inodes.inode(named: name, in: directory) { return inode }
    guard let known = directories[directory] else { return nil }
    for listing in [known.listing, known.fetching] {
      guard let listing, inodes.count(of: listing.id) > 0,
        let entry = name.withUnsafeBytes({ listing.shown($0) })
      else { continue }
      if let inode = inodes.inode(atEntry: entry, of: listing.id) { return inode }
    }
    return nil
  }

  /// The kernel's number of a directory; nil if it has none.
  func nodeID(of directory: ObjectKey, root: ObjectKey) -> NodeID? {
    if directory == root { return FileSystem.root }
    let (parent, name) = MountPaths.split(directory: directory)
    return current(parent, name).map { inodes.id(of: $0) }
  }

  /// What is known by the path's own inode, if that is valid and no listing is newer.
  func currentResult(
    _ directory: ObjectKey, _ name: [UInt8], _ listing: DirectoryListing?, now: Instant
  ) -> LookupResult? {
    // What a valid listing has is found there as quickly.
    if listing != nil, !inodes.hasUnlisted(in: directory) { return nil }
    guard let known = directories[directory], let inode = current(directory, name) else {
      return nil
    }
    let checked = checked(inode)
    guard now < checked + directories.ttl, checked >= known.invalidBefore,
      checked >= listing?.started ?? checked
    else { return nil }
    switch inodes.location(of: inode) {
    case .unlisted(let unlisted): return LookupResult(what: .asked(unlisted.seen), at: checked)
    case .listed(let id, let entry):
      return LookupResult(what: .listed(directories[id], entry), at: checked)
    }
  }

  /// The names of a directory that the kernel knows.
  func namesWithInodes(in directory: ObjectKey) -> [[UInt8]] {
    guard let known = directories[directory] else { return [] }
    var names = Array(inodes.unlisted(in: directory).keys)
    for listing in [known.listing, known.fetching] {
      guard let listing else { continue }
      var next = 0
      while let (entry, _) = inodes.nextEntry(of: listing.id, from: next) {
        names.append(Array(listing[entry].name))
        next = entry + 1
      }
    }
    return names
  }

  /// Every name of a directory that is known, whether the kernel has it or not.
  func allNames(in directory: ObjectKey) -> [[UInt8]] {
    guard let known = directories[directory] else { return [] }
    var names = Array(inodes.unlisted(in: directory).keys)
    for listing in [known.listing, known.fetching] {
      listing?.forEachBlock { _, block in
        for offset in 0..<block.count { names.append(Array(block.name(block[offset]))) }
      }
    }
    return names
  }

  // MARK: References

  /// The inode of what was found under a name, with one reference more; nil if nothing was. What is older than an
  /// inode's own knowledge changes nothing.
  mutating func retain(
    _ directory: ObjectKey, _ name: [UInt8], _ result: LookupResult
  ) -> Retained? {
    switch result.what {
    case .absent: nil
    case .listed(let listing, let entry): retain(entry, of: listing)
    case .asked(let seen): retain(directory, name, seen, at: result.at)
    }
  }

  /// The inode of a listing's entry, with one reference more.
  mutating func retain(_ entry: Int, of listing: DirectoryListing) -> Retained {
    if let inode = inodes.inode(atEntry: entry, of: listing.id) {
      inodes.retain(inode)
      return Retained(inode: inode)
    }
    let directory = listing.directory
    let dirent = listing[entry]
    let known = directories[directory]
    let isCurrent = known?.has(listing) ?? false
    var replaced: NodeID?
    if mayHaveOther(known, than: listing) {
      let name = Array(dirent.name)
      if let inode = current(directory, name) {
        let isSame = seen(inode).isSameVersion(as: dirent.seen)
        if isSame || checked(inode) > listing.started {
          if isSame && isCurrent { move(inode, to: entry, of: listing) }
          inodes.retain(inode)
          return Retained(inode: inode)
        }
        replaced = expire(inode)
      }
    }
    if isCurrent {
      return Retained(
        inode: inodes.add(entry, of: listing.id, count: listing.count), replaced: replaced)
    }
    return Retained(
      inode: addUnlisted(directory, Array(dirent.name), dirent.seen, at: listing.started),
      replaced: replaced)
  }

  private func mayHaveOther(_ known: DirectoryState?, than listing: DirectoryListing) -> Bool {
    if inodes.hasUnlisted(in: listing.directory) { return true }
    return [known?.listing, known?.fetching].contains { other in
      guard let other, other !== listing else { return false }
      return inodes.count(of: other.id) > 0
    }
  }

  private mutating func retain(
    _ directory: ObjectKey, _ name: [UInt8], _ seen: Observation, at time: Instant
  ) -> Retained {
    var replaced: NodeID?
    if let inode = current(directory, name) {
      let isSame = self.seen(inode).isSameVersion(as: seen)
      if isSame { confirm(inode, at: time) }
      if isSame || time < checked(inode) {
        inodes.retain(inode)
        return Retained(inode: inode)
      }
      replaced = expire(inode)
    } else if let listing = directories[directory]?.listing,
      let entry = name.withUnsafeBytes({ listing.shown($0) }),
      listing[entry].seen.isSameVersion(as: seen)
    {
      let inode = inodes.add(entry, of: listing.id, count: listing.count)
      confirm(inode, at: time)
      return Retained(inode: inode)
    }
    return Retained(inode: addUnlisted(directory, name, seen, at: time), replaced: replaced)
  }

  private mutating func addUnlisted(
    _ directory: ObjectKey, _ name: [UInt8], _ seen: Observation, at time: Instant
  ) -> InodeTable.Index {
    directories.remember(directory)
    return inodes.add(
      InodeTable.Unlisted(directory: directory, name: name, seen: seen, checked: time))
  }

  /// Gives references back. Returns a listing that waited for that to be dropped.
  mutating func release(_ id: NodeID, count: UInt64) -> DirectoryListing? {
    switch inodes.release(id, count: count) {
    case .unlisted(let unlisted)?:
      if !inodes.hasUnlisted(in: unlisted.directory), !unlisted.isStale {
        directories.removeIfDefault(unlisted.directory)
      }
      return nil
    case .listed(let id, _)?:
      let listing = directories[id]
      guard inodes.count(of: id) == 0,
        directories.dropIfReleased(
          listing, hasUnlisted: inodes.hasUnlisted(in: listing.directory))
      else { return nil }
      inodes.remove(id)
      return listing
    case nil: return nil
    }
  }

  // MARK: What the store shows

  /// Takes in what was found, for an inode that is referred to already. Returns the one that became stale by it.
  mutating func observe(
    _ directory: ObjectKey, _ name: [UInt8], _ result: LookupResult
  ) -> NodeID? {
    guard let inode = current(directory, name), result.at >= checked(inode) else { return nil }
    if let seen = result.seen, self.seen(inode).isSameVersion(as: seen) {
      confirm(inode, at: result.at)
      return nil
    }
    return expire(inode)
  }

  /// The path has another version than the inode, or none. Returns its number.
  mutating func expire(_ inode: InodeTable.Index) -> NodeID {
    unlist(inode)
    inodes.expire(inode)
    return inodes.id(of: inode)
  }

  private mutating func confirm(_ inode: InodeTable.Index, at time: Instant) {
    if checked(inode) < time { inodes.confirm(inode, at: time) }
  }

  mutating func move(
    _ inode: InodeTable.Index, to entry: Int, of listing: DirectoryListing
  ) {
    let checked = checked(inode)
    inodes.move(
      inode, to: entry, of: listing.id, count: listing.count,
      confirmed: checked > listing.started ? checked : nil)
  }

  /// Takes an inode out of its listing.
  mutating func unlist(_ inode: InodeTable.Index) {
    guard case .listed(let id, let entry) = inodes.location(of: inode) else { return }
    let dirent = directories[id][entry]
    inodes.unlist(
      inode,
      as: InodeTable.Unlisted(
        directory: directories[id].directory, name: Array(dirent.name), seen: dirent.seen,
        checked: checked(inode)))
  }
}

/// An inode as it is known.
struct Node {
  let directory: ObjectKey
  let name: [UInt8]
  let seen: Observation
  /// The path has another version by now, or none.
  let isStale: Bool
  var path: ObjectKey { directory + name }
}
