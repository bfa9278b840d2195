/// The values that the front end is answered with.
public import ObjectStore
public import ReadEngine

public enum LookupAnswer: Sendable {
  case found(NodeAttributes)
  /// There is no such name, and for `validFor` none is looked for again.
  case absent(validFor: Duration)
}

public enum Invalidation: Sendable {
  /// Drop attributes and pages of a node.
  case node(NodeID)
  /// Drop a name of a folder.
  case entry(parent: NodeID, name: [UInt8])
  /// Drop all names.
  case everything
}

/// The attributes of a node that the kernel gets.
public struct NodeAttributes: Sendable, Equatable {
  public enum Kind: Sendable, Equatable { case file, folder }
  public var node: NodeID
  /// st_ino: a hash of the path, the same after a remount.
  public var inode: UInt64
  public var kind: Kind
  /// Bytes; 0 for a folder.
  public var size: UInt64
  /// Seconds since 1970, for atime, mtime and ctime alike.
  public var modified: Int64
  /// How long the kernel may use name and attributes without asking again.
  public var validFor: Duration
  /// As the source has them; nil where the store knows of none.
  public var rights: AccessRights?

  public init(
    node: NodeID, inode: UInt64, kind: Kind, size: UInt64, modified: Int64, validFor: Duration,
    rights: AccessRights? = nil
  ) {
    self.node = node
    self.inode = inode
    self.kind = kind
    self.size = size
    self.modified = modified
    self.validFor = validFor
    self.rights = rights
  }
}

/// A file held open: its version and the engine's open object, retained by the front end in
/// `fi->fh`. Closing it closes the object.
public final class OpenFile: Sendable {
  public let node: NodeID
  public let object: OpenObject
  /// The kernel may keep the pages it has of this node: they are of this same version.
  public let keepsPageCache: Bool

  public init(node: NodeID, object: OpenObject, keepsPageCache: Bool) {
    self.node = node
    self.object = object
    self.keepsPageCache = keepsPageCache
  }

  public func close() { object.close() }
}

public struct FolderEntry {
  /// Valid during the call of `add`.
  public var name: UnsafeRawBufferPointer
  public var inode: UInt64
  public var kind: NodeAttributes.Kind
  /// Where the entry after this one starts.
  public var nextCookie: UInt64
  /// With `plus`, except for "." and ".." and where the store's listing does not give the size.
  public var attributes: NodeAttributes?

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

public struct FileSystemStatistics: Sendable, Codable {
  public var nodes: Int = 0
  public var listedDirectories: Int = 0
  /// Bytes that names and attributes occupy, and their limit.
  public var bytes: Int = 0
  public var limit: Int = 0
  public init() {}
}
