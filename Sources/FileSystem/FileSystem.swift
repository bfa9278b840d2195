/// Names: inodes, folders, lookup, attributes, open files, consistency.
///
/// The front end calls it with node numbers and name bytes and gets values back; it knows nothing
/// of FUSE. A call whose answer is known replies before it returns, on the caller's thread;
/// otherwise the reply comes later from a thread of the store's. Each reply is called exactly once.
public import Logging
public import Metrics
public import ObjectStore
public import ReadEngine
public import SystemPackage

/// The kernel's number of a node: a (path, version), never used twice in the life of a mount.
public typealias NodeID = UInt64

public typealias Reply<Value> = @Sendable (Result<Value, Errno>) -> Void

public final class FileSystem: Sendable {
  public static let root: NodeID = 1

  /// `prefix` is empty or ends in "/": the folder of the store that is the root of the mount.
  public init(
    store: any ObjectStore, prefix: ObjectKey, engine: ReadEngine, options: FileSystemOptions,
    metrics: Metrics, log: Logger
  ) { fatalError("not built yet") }

  /// Finds `name` in `parent` and takes one reference on the node found (given back by `forget`).
  /// ENOENT replies carry the time for which the kernel may remember that there is none.
  public func lookup(
    parent: NodeID, name: UnsafeRawBufferPointer, reply: @escaping Reply<LookupAnswer>
  ) { fatalError("not built yet") }

  /// Gives back `count` references that lookups and readdirplus entries took.
  public func forget(_ node: NodeID, count: UInt64) {}

  /// ESTALE for a file node whose version is no longer the path's.
  public func attributes(of node: NodeID, reply: @escaping Reply<NodeAttributes>) {
    fatalError("not built yet")
  }

  /// Pins the listing's generation: cookies of one open folder index one listing.
  public func openFolder(_ node: NodeID, reply: @escaping Reply<OpenFolder>) {
    fatalError("not built yet")
  }

  /// Opens the node's version. ESTALE if the path has another version by now: the kernel then looks
  /// the path up again by itself. EISDIR for a folder, EIO for an object that cannot be read.
  public func open(_ node: NodeID, reply: @escaping Reply<OpenFile>) {
    fatalError("not built yet")
  }

  /// `user.millrace.etag`, `.key`, `.state`; ENODATA for others.
  public func extendedAttribute(
    of node: NodeID, name: UnsafeRawBufferPointer, reply: @escaping Reply<[UInt8]>
  ) { fatalError("not built yet") }

  /// The attribute names of a node.
  public func extendedAttributeNames(of node: NodeID, reply: @escaping Reply<[String]>) {
    fatalError("not built yet")
  }

  public func statistics() -> FileSystemStatistics { fatalError("not built yet") }

  /// What the kernel must drop, told by a thread that holds no lock (the kernel may call back).
  public func onInvalidation(_ handler: @escaping @Sendable (Invalidation) -> Void) {}

  /// Replies to what still waits (EIO) and stops.
  public func shutdown() {}
}

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
}

/// What the kernel is told of a node.
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

/// A folder held open: one generation of its listing.
public final class OpenFolder: Sendable {
  /// Entries from `cookie` on (0: the first, "." and ".." included), in a stable order.
  ///
  /// `add` is called for each; it returns false when the reply is full, and that entry is then not
  /// taken. The cookie given with an entry is where the next one starts. With `plus`, attributes
  /// carry a node on which a reference was taken for each entry that was added (not for "." and
  /// ".."). `done` follows, after the listing's next page had to be waited for if nothing else was
  /// there; an end without entries is the end of the folder.
  public func read(
    from cookie: UInt64, plus: Bool, add: @escaping @Sendable (FolderEntry) -> Bool,
    done: @escaping Reply<Void>
  ) { fatalError("not built yet") }

  public func close() {}
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
  public var listedFolders: Int = 0
  /// Bytes that names and attributes occupy, and their limit.
  public var bytes: Int = 0
  public var limit: Int = 0
  public init() {}
}
