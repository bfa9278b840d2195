/// Metadata: inodes, directories, lookup, attributes, open files, consistency.
///
/// The front end calls it with inode numbers and the bytes of names and gets values back; it knows nothing of FUSE. A
/// call whose answer is known replies before it returns, on the caller's thread; otherwise the reply comes later, from
/// a thread of the store's. Each reply is called exactly once.
///
/// Who calls: FuseFrontEnd for the kernel, Prefetch for what it will read next, the command line for `refresh`,
/// `update` and statistics. What it calls: a store (list, head), and ReadEngine for opens.
///
/// **Parts**
///
///     FileSystem                 the face: public calls, handed to the part whose they are
///      |- LookupService          a name to an inode: known, joined, or asked of the store (Lookup/)
///      |- DirectoryLister        the listing of a directory; ahead of need, too (Listings/)
///      |   |- ListingFetcher     one listing being fetched: PageSequence, ListingPlan, KeyspacePartitioner
///      |   `- MetadataEvictor    the limit of memory
///      |- OpenFolder             a directory held open (Directories/)
///      |- FileOpener             opens of files, versions of paths (Files/)
///      |- DirectorySlicer        directories for those who are not the kernel (Trees/)
///      |- TreeRefresh, TreeDiff  refresh and update (Trees/)
///      |- ListingPersistence     listings from mount to mount (Persistence/)
///      |- KernelInvalidator      what the kernel must drop (Kernel/)
///      `- MetadataCache          the lock around what is known:
///          `- MetadataState      lookups in flight, absences, and
///              `- NameTree       how inodes follow what the store shows
///                  |- InodeTable      inodes, their counts of lookups, forget (Inodes/)
///                  `- DirectoryCache  listings, TTL, eviction, bytes (Directories/)
///
/// **Flow.** MetadataState and what is in it are values: an event a method, the time a parameter, no I/O. MetadataCache
/// takes its lock, asks, unlocks; the parts above act on the answer. A listing (DirectoryListing) is shared: its
/// readers wait there for pages, its fetcher adds them.
///
/// **Promises.** No thread waits for the network here, and no file is read under a lock. What is shown was true within
/// the metadata TTL. An inode is one version of one path, and its number is never used twice in the life of a mount.
/// Memory is bounded by `FileSystemOptions.metadataLimit`, except for what the kernel or a program holds.
///
/// **Locks.** Each guards the fields of one type and is private to it. Held while another is taken: that of
/// MetadataCache over that of a DirectoryListing and that of ListingPersistence, and that of KernelInvalidator's backlog
/// over that of its worker.
public import Logging
public import Metrics
public import ObjectStore
import Posix
public import ReadEngine
public import SystemPackage

/// The kernel's number of an inode: a (path, version), never used twice in the life of a mount.
public typealias NodeID = UInt64

/// Called exactly once, on the thread of the call or on one of the store's.
public typealias Reply<Value> = @Sendable (Result<Value, Errno>) -> Void

/// The metadata of one mount.
public final class FileSystem: Sendable {
  /// The inode of the mount's root.
  public static let root: NodeID = 1

  private let context: MountContext
  private let engine: ReadEngine
  let cache: MetadataCache
  private let persistence: ListingPersistence
  private let lister: DirectoryLister
  private let lookup: LookupService
  private let opener: FileOpener
  private let trees: TreeRefresh
  private let slicer: DirectorySlicer
  private let kernel: KernelInvalidator
  /// Talks to the kernel, and writes listings now and then.
  private let worker = WorkerPool(named: "invalidate", threads: 1)
  private let changes: ChangedObjects

  /// `prefix` is empty or ends in "/": the directory of the store that is the root of the mount.
  public init(
    store: any ObjectStore, prefix: ObjectKey, engine: ReadEngine, options: FileSystemOptions,
    metrics: Metrics, log: Logger
  ) {
    let context = MountContext(
      store: store, prefix: prefix, options: options, metrics: metrics, log: log)
    self.context = context
    self.engine = engine
    cache = MetadataCache(context)
    kernel = KernelInvalidator(context, cache: cache, worker: worker)
    persistence = ListingPersistence(context, cache: cache, worker: worker)
    lister = DirectoryLister(context, cache: cache, persistence: persistence, kernel: kernel)
    lookup = LookupService(
      context, cache: cache, persistence: persistence, lister: lister, kernel: kernel)
    opener = FileOpener(context, engine: engine, lookup: lookup)
    slicer = DirectorySlicer(context, lister: lister, lookup: lookup)
    trees = TreeRefresh(
      context, cache: cache, persistence: persistence, lister: lister, kernel: kernel)
    changes = ChangedObjects(context, cache: cache, kernel: kernel)
    engine.onChanged { [weak changes] version in changes?.objectChanged(version) }
  }

  // MARK: Inodes

  /// Finds `name` in `parent` and takes one reference on the inode found (given back by `forget`).
  /// ENOENT replies carry the time for which the kernel may remember that there is none.
  public func lookup(
    parent: NodeID, name: UnsafeRawBufferPointer, reply: @escaping Reply<LookupAnswer>
  ) {
    switch lookup.directory(of: parent) {
    case .failure(let error): reply(.failure(error))
    case .success(let directory):
      let name = Array(name)
      guard NameRules.isReachable(name) else {
        return reply(
          name.count > NameRules.maxNameLength
            ? .failure(.fileNameTooLong)
            : .success(.absent(validFor: context.options.metadataTTL)))
      }
      lookup.lookUp(name, in: directory, reply: reply)
    }
  }

  /// Gives back `count` references that lookups and readdirplus entries took.
  public func forget(_ node: NodeID, count: UInt64) { cache.release(node, count: count) }

  /// ESTALE for the inode of a file whose version is no longer the path's.
  public func attributes(of node: NodeID, reply: @escaping Reply<NodeAttributes>) {
    if node == Self.root { return reply(.success(cache.attributes.root())) }
    if let known = cache.freshAttributes(of: node) { return reply(.success(known)) }
    lookup.confirm(node, during: "getattr") { [cache] result in
      reply(
        result.flatMap { _ in
          cache.currentAttributes(of: node).map { .success($0) } ?? .failure(.staleNFSFileHandle)
        })
    }
  }

  /// `user.millrace.etag`, `.version`, `.key` and `.state`; ENODATA for other names of users, and for directories;
  /// EOPNOTSUPP for all other kinds; ESTALE once the kernel no longer refers to the inode.
  public func extendedAttribute(
    of node: NodeID, name: UnsafeRawBufferPointer, reply: @escaping Reply<[UInt8]>
  ) {
    guard ExtendedAttributes.isSupported(name) else { return reply(.failure(.notSupported)) }
    let found = ExtendedAttributes(node: cache.resolve(node), isRoot: node == Self.root)
    reply(found.value(of: name, residence: engine.residence))
  }

  /// The names of an inode's extended attributes; ESTALE once the kernel no longer refers to it.
  public func extendedAttributeNames(of node: NodeID, reply: @escaping Reply<[String]>) {
    reply(ExtendedAttributes(node: cache.resolve(node), isRoot: node == Self.root).names)
  }

  // MARK: Opening

  /// Opens a directory: cookies of one open directory index one listing, which is pinned. ENOTDIR, ESTALE; EIO while
  /// shutting down.
  public func openFolder(_ node: NodeID, reply: @escaping Reply<OpenFolder>) {
    switch lookup.directory(of: node) {
    case .failure(let error): reply(.failure(error))
    case .success(let directory):
      guard let listing = lister.listing(of: directory, isOpened: true) else {
        return reply(.failure(.ioError))
      }
      reply(
        .success(OpenFolder(listing, paths: context.paths, lookup: lookup, lister: lister)))
      lister.listAhead(of: directory)
    }
  }

  /// Opens the inode's version. ESTALE if the path has another version by now: the kernel then looks
  /// the path up again by itself. EISDIR for a directory, EIO for an object that cannot be read.
  public func open(_ node: NodeID, reply: @escaping Reply<OpenFile>) {
    opener.open(node, reply: reply)
  }

  /// Called for each open that succeeds, on the thread that answers it: it must be short.
  public func onOpen(_ handler: @escaping @Sendable (OpenedFile) -> Void) {
    opener.onOpen(handler)
  }

  /// Called when the disk tier has no file left to evict, on a thread of the engine: opens that
  /// are not needed are to be closed.
  public func onDiskPressure(_ handler: @escaping @Sendable () -> Void) {
    engine.onDiskPressure(handler)
  }

  // MARK: Paths and trees

  /// The key of the root of the mount.
  public var rootFolder: ObjectKey { context.paths.root }

  /// A path relative to the mount as the key of a file, and as that of a directory.
  public func keys(ofPath path: [UInt8]) -> (file: ObjectKey, folder: ObjectKey) {
    let keys = context.paths.keys(of: path)
    return (keys.file, keys.directory)
  }

  /// A key as a path relative to the mount.
  public func path(ofKey key: ObjectKey) -> [UInt8] { context.paths.relativePath(of: key) }

  /// At most `limit` entries of a directory from `index` on, which is listed if it must. Sizes that the listing does
  /// not have are requested if `asksSizes`, until `stop` is set, and counted otherwise. Archived files are left out.
  /// The reply comes at once or from a thread of the store's.
  public func slice(
    of folder: ObjectKey, from index: Int, limit: Int, asksSizes: Bool = true,
    stop: StopFlag = StopFlag(), reply: @escaping Reply<FolderSlice>
  ) {
    slicer.slice(
      of: folder, from: index, limit: limit, sizes: asksSizes ? stop : nil, reply: reply)
  }

  /// Where a name stands in the listing of its directory, if that is known.
  public func index(of name: [UInt8], in folder: ObjectKey) -> Int? {
    lister.index(of: name, in: folder)
  }

  /// The version that a path relative to the mount has; ENOENT, EISDIR.
  public func version(atPath path: [UInt8], reply: @escaping Reply<ObjectVersion>) {
    opener.version(atPath: path, reply: reply)
  }

  // MARK: Consistency

  /// Forgets what is known of a path (relative to the mount, "" for all of it) and of all below it,
  /// here and in the kernel: the next lookup returns what the store has then. Returns the number of
  /// directories whose listing was dropped.
  public func refresh(_ path: [UInt8]) -> Int { trees.refresh(path) }

  /// Lists anew every directory below a path (relative to the mount) that is known, and tells what has
  /// changed since. The mount shows it from then on. `reply` comes on a thread of the store's.
  public func update(_ path: [UInt8], reply: @escaping @Sendable (UpdateReport) -> Void) {
    trees.update(path, reply: reply)
  }

  /// What the kernel must drop, by a thread that holds no lock (the kernel may call back). The handler returns
  /// once it is done; false: this kernel cannot.
  public func onInvalidation(_ handler: @escaping @Sendable (Invalidation) -> Bool) {
    kernel.onInvalidation(handler)
  }

  /// Runs `body` once the kernel has dropped what was added before; at once if that cannot be waited for.
  public func afterInvalidations(_ body: @escaping @Sendable () -> Void) {
    kernel.afterInvalidations(body)
  }

  /// Waits until the kernel has dropped what was added before, but not longer than `time`.
  public func waitForInvalidations(within time: Duration) {
    kernel.waitForInvalidations(within: time)
  }

  // MARK: The whole

  /// What the metadata of the mount occupies now.
  public func statistics() -> FileSystemStatistics {
    let statistics = cache.statistics()
    context.metrics.metadata.nodes.set(Int64(statistics.nodes))
    context.metrics.metadata.bytes.set(Int64(statistics.bytes))
    return statistics
  }

  /// Keeps the listings for the next mount, replies to what still waits (EIO) and stops.
  public func shutdown() {
    persistence.shutDown()
    for waiter in cache.shutDown() { waiter(.failure(context.shuttingDown)) }
    lister.shutDown()
    worker.shutdown()
  }
}
