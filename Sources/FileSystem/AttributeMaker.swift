import Glibc
import ObjectStore
import Posix

/// Makes the attributes that the kernel gets.
struct AttributeMaker: Sendable {
  private let options: FileSystemOptions
  /// Directories have no time of their own in a store: theirs is the mount's. Seconds since 1970.
  private let mountTime = Int64(time(nil))

  init(_ options: FileSystemOptions) { self.options = options }

  /// Names and versions never change.
  var areNamesFixed: Bool { options.frozenBy != nil }

  /// How long what was seen at a time stays valid.
  func remaining(since: Instant, now: Instant) -> Duration {
    max(.zero, min(options.metadataTTL, since + options.metadataTTL - now))
  }

  func root() -> NodeAttributes {
    var root = NodeAttributes(
      node: FileSystem.root, inode: 1, kind: .folder, size: 0, modified: mountTime,
      validFor: options.metadataTTL)
    root.rights = options.rootRights?()
    return root
  }

  func attributes(
    of inode: InodeTable.Index, in names: borrowing NameTree, now: Instant
  ) -> NodeAttributes {
    let node = names.inodes.id(of: inode)
    let validFor = remaining(since: names.checked(inode), now: now)
    switch names.inodes.location(of: inode) {
    case .unlisted(let unlisted):
      let isFile = unlisted.seen.kind == .file
      var found = NodeAttributes(
        node: node, inode: NameRules.inode(of: unlisted.directory.bytes + unlisted.name),
        kind: unlisted.seen.kind, size: isFile ? unlisted.seen.size ?? 0 : 0,
        modified: isFile ? unlisted.seen.modified : mountTime, validFor: validFor)
      found.rights = rights { unlisted.seen.etag }
      return found
    case .listed(let id, let entry):
      let listing = names.directories[id]
      let dirent = listing[entry]
      var found = NodeAttributes(
        node: node, inode: listing.pathHash.inode(of: dirent.name),
        kind: dirent.isFolder ? .folder : .file, size: dirent.isFolder ? 0 : dirent.entry.size,
        modified: dirent.isFolder ? mountTime : dirent.block.modified(dirent.entry),
        validFor: validFor)
      found.rights = rights { dirent.seen.etag }
      return found
    }
  }

  /// Validators end in rights where the source has them.
  private func rights(_ etag: () -> String) -> AccessRights? {
    options.rootRights == nil ? nil : AccessRights(etag: etag())
  }
}
