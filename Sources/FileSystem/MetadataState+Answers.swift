import ObjectStore
import Posix

extension MetadataState {
  /// Turns what was found into the answer to the kernel, with a reference on the inode. Returns as well the inode that
  /// is stale by it.
  mutating func answer(
    _ result: LookupResult, _ name: [UInt8], in directory: ObjectKey, now: Instant,
    _ attributes: AttributeMaker
  ) -> (answer: LookupAnswer, replaced: NodeID?) {
    // What was asked before a refresh is an answer to those who asked then, and nothing to remember.
    let isVoid = result.at < names.directories[directory]?.invalidBefore ?? result.at
    guard let retained = names.retain(directory, name, result) else {
      let replaced = names.observe(directory, name, result)
      let time = isVoid ? .zero : attributes.remaining(since: result.at, now: now)
      // The kernel may remember an absence if it was written down here before. Fixed names never appear.
      let isKept =
        time == .zero || attributes.areNamesFixed
        || absent.add(name, in: directory, until: now + time, now: now)
      return (.absent(validFor: isKept ? time : .zero), replaced)
    }
    var found = attributes.attributes(of: retained.inode, in: names, now: now)
    if isVoid { found.validFor = .zero }
    return (.found(found), retained.replaced)
  }

  /// References on the inodes of consecutive entries of a listing, from `index` on. Nil for an entry that is not wanted
  /// or that the kernel must look up itself: the listing is too old to vouch, or does not know the size. Returns as
  /// well the inodes that are stale by it.
  mutating func retain(
    _ entries: DirectoryListing.Slice, of listing: DirectoryListing, from index: Int,
    where isWanted: (DirentBlock.Entry) -> Bool, now: Instant, _ attributes: AttributeMaker
  ) -> (attributes: [NodeAttributes?], replaced: [NameTree.Replaced]) {
    guard let home = names.directories.valid(listing, now: now) else {
      return (entries.entries.map { _ in nil }, [])
    }
    var replaced: [NameTree.Replaced] = []
    let found = entries.entries.enumerated().map { offset, entry -> NodeAttributes? in
      guard !entry.flags.contains(.needsHead), isWanted(entry) else { return nil }
      let retained = names.retain(index + offset, of: home)
      if let old = retained.replaced {
        replaced.append(NameTree.Replaced(node: old, name: Array(entries.block.name(entry))))
      }
      return attributes.attributes(of: retained.inode, in: names, now: now)
    }
    return (found, replaced)
  }
}
