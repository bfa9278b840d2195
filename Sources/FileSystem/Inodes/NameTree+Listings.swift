import ObjectStore
import Posix

/// How inodes go from one listing of a directory to the next.
extension NameTree {
  /// The listing is complete: it becomes its directory's, and inodes go over to it. Returns those that it shows to be
  /// stale; nil if it is no longer wanted. `isFirst`: the directory had none.
  mutating func complete(
    _ listing: DirectoryListing
  ) -> (replaced: [Replaced], isFirst: Bool)? {
    var replaced: [Replaced] = []
    var isFirst = false
    switch directories.complete(listing) {
    case .unwanted: return nil
    case .first: isFirst = true
    case .changed(from: let old): moveInodes(from: old, to: listing, &replaced)
    // The old one stays, and with it its inodes and the kernel's copy of the names.
    case .same(as: let old): moveInodes(from: listing, to: old, &replaced)
    }
    resolveUnlisted(in: listing.directory, &replaced)
    return (replaced, isFirst)
  }

  /// The listing failed, or is not valid: inodes that were made from it stay as they were seen.
  mutating func abandon(_ listing: DirectoryListing) {
    guard directories.abandon(listing) else { return }
    let newest = directories[listing.directory]?.listing
    var next = 0
    while let (entry, inode) = inodes.nextEntry(of: listing.id, from: next) {
      next = entry + 1
      let dirent = listing[entry]
      if let newest, let place = newest.shown(dirent.name),
        inodes.inode(atEntry: place, of: newest.id) == nil,
        newest[place].seen.isSameVersion(as: dirent.seen)
      {
        move(inode, to: place, of: newest)
      } else {
        unlist(inode)
      }
    }
    leave(listing)
  }

  /// Drops listings until `excess` bytes are gone, see `DirectoryCache.evict`.
  mutating func evict(excess: Int, now: Instant) -> DirectoryCache.Eviction {
    let eviction = directories.evict(
      excess: excess, now: now,
      DirectoryCache.References(
        has: { [inodes] in inodes.count(of: $0.id) > 0 },
        hasUnlisted: { [inodes] in inodes.hasUnlisted(in: $0) },
        bytes: { [inodes] in inodes.bytes(of: $0.id) }))
    for listing in eviction.dropped { inodes.remove(listing.id) }
    return eviction
  }

  /// No inode is in the listing any more, and no directory has it.
  private mutating func leave(_ listing: DirectoryListing) {
    inodes.remove(listing.id)
    directories.release(listing)
  }

  private mutating func moveInodes(
    from old: DirectoryListing, to new: DirectoryListing, _ replaced: inout [Replaced]
  ) {
    let count = new.count
    var next = 0
    // Mostly the same names in the same order: the one behind the last is tried first.
    var likely = 0
    while let (entry, inode) = inodes.nextEntry(of: old.id, from: next) {
      next = entry + 1
      let dirent = old[entry]
      let isLikely = likely < count && new[likely].name.elementsEqual(dirent.name)
      if let found = isLikely ? likely : new.shown(dirent.name) {
        likely = found + 1
        let target = new[found]
        if inodes.inode(atEntry: found, of: new.id) == nil,
          target.block.isSameVersion(target.entry, as: dirent.block, dirent.entry)
        {
          move(inode, to: found, of: new)
          continue
        }
      }
      // Seen again since the listing began: what is older does not contradict it.
      let isNewer = checked(inode) > new.started
      let name = Array(dirent.name)
      unlist(inode)
      if isNewer { continue }
      inodes.expire(inode)
      replaced.append(Replaced(node: inodes.id(of: inode), name: name))
    }
    leave(old)
  }

  /// Unlisted inodes of a directory go over to its listing, or are shown to be stale by it.
  private mutating func resolveUnlisted(in directory: ObjectKey, _ replaced: inout [Replaced]) {
    guard let listing = directories[directory]?.listing else { return }
    for (name, inode) in inodes.unlisted(in: directory) {
      let entry = name.withUnsafeBytes { listing.shown($0) }
      if let entry, inodes.inode(atEntry: entry, of: listing.id) == nil,
        listing[entry].seen.isSameVersion(as: seen(inode))
      {
        move(inode, to: entry, of: listing)
        continue
      }
      if checked(inode) > listing.started { continue }
      // A listing that does not know the version (no size) says that there is still something.
      if let entry, listing[entry].seen.size == nil, seen(inode).kind == .file { continue }
      replaced.append(Replaced(node: expire(inode), name: name))
    }
  }
}
