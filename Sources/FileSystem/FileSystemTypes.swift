/// The values that the front end is answered with.
public import ObjectStore
public import ReadEngine

/// What a lookup is answered with.
public enum LookupAnswer: Sendable {
  case found(NodeAttributes)
  /// There is no such name, and for `validFor` none is looked for again.
  case absent(validFor: Duration)
}

/// What the kernel must drop.
public enum Invalidation: Sendable {
  /// Drop attributes and pages of a node.
  case node(NodeID)
  /// Drop a name of a directory.
  case entry(parent: NodeID, name: [UInt8])
  /// Drop all names.
  case everything
}

/// The attributes of a node that the kernel gets.
public struct NodeAttributes: Sendable, Equatable {
  /// A regular file, or a directory.
  public enum Kind: Sendable, Equatable { case file, folder }
  /// The inode's number in this mount.
  public var node: NodeID
  /// st_ino: a hash of the path, the same after a remount.
  public var inode: UInt64
  /// What it is.
  public var kind: Kind
  /// Bytes; 0 for a directory.
  public var size: UInt64
  /// Seconds since 1970, for atime, mtime and ctime alike.
  public var modified: Int64
  /// How long the kernel may use name and attributes without asking again.
  public var validFor: Duration
  /// As the source has them; nil where the store knows of none.
  public var rights: AccessRights?

  /// Without rights.
  public init(
    node: NodeID, inode: UInt64, kind: Kind, size: UInt64, modified: Int64, validFor: Duration
  ) {
    self.node = node
    self.inode = inode
    self.kind = kind
    self.size = size
    self.modified = modified
    self.validFor = validFor
  }
}

/// A file held open: its version and the engine's open object, retained by the front end in
/// `fi->fh`. Closing it closes the object.
public final class OpenFile: Sendable {
  /// The inode that was opened.
  public let node: NodeID
  /// Reads go to it.
  public let object: OpenObject
  /// The kernel may keep the pages it has of this node: they are of this same version.
  public let keepsPageCache: Bool

  /// The object is closed with it.
  public init(node: NodeID, object: OpenObject, keepsPageCache: Bool) {
    self.node = node
    self.object = object
    self.keepsPageCache = keepsPageCache
  }

  /// Once, after the last read.
  public func close() { object.close() }
}

/// An entry of a directory, while it is read.
public struct FolderEntry {
  /// Valid during the call of `add`.
  public var name: UnsafeRawBufferPointer
  /// st_ino.
  public var inode: UInt64
  /// What it is.
  public var kind: NodeAttributes.Kind
  /// Where the entry after this one starts.
  public var nextCookie: UInt64
  /// With `plus`, except for "." and ".." and where the store's listing does not give the size.
  public var attributes: NodeAttributes?

  /// `nextCookie`: greater than 0.
  public init(
    name: UnsafeRawBufferPointer, inode: UInt64, kind: NodeAttributes.Kind, nextCookie: UInt64,
    attributes: NodeAttributes?
  ) {
    self.name = name
    self.inode = inode
    self.kind = kind
    self.nextCookie = nextCookie
    self.attributes = attributes
  }
}

/// What the metadata of a mount occupies.
public struct FileSystemStatistics: Sendable, Codable {
  /// Inodes that the kernel refers to.
  public var nodes: Int = 0
  /// Directories whose listing is cached.
  public var listedDirectories: Int = 0
  /// Bytes that names and attributes occupy.
  public var bytes: Int = 0
  /// `FileSystemOptions.metadataLimit`.
  public var limit: Int = 0
  /// All zero.
  public init() {}
}
