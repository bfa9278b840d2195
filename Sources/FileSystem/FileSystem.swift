/// Names: inodes, folders, lookup, attributes, open files, consistency.
///
/// The front end calls it with node numbers and name bytes and gets values back; it knows nothing
/// of FUSE. A call whose answer is known replies before it returns, on the caller's thread;
/// otherwise the reply comes later from a thread of the store's. Each reply is called exactly once.
import Glibc
public import Logging
public import Metrics
public import ObjectStore
import Posix
public import ReadEngine
import Synchronization
public import SystemPackage

/// The kernel's number of a node: a (path, version), never used twice in the life of a mount.
public typealias NodeID = UInt64

public typealias Reply<Value> = @Sendable (Result<Value, Errno>) -> Void

public final class FileSystem: Sendable {
  public static let root: NodeID = 1

  let store: any ObjectStore
  /// Empty, or ends in "/".
  let prefix: ObjectKey
  let engine: ReadEngine
  let options: FileSystemOptions
  let metrics: Metrics
  let log: Logger
  let failures: StoreErrorLog
  let clock: @Sendable () -> Instant
  /// Nanoseconds since 1970: what is kept from one mount to the next goes by it.
  let wallTime: @Sendable () -> Int64
  /// Folders have no time of their own in a store: theirs is the mount's.
  let mountTime = Int64(time(nil))
  let account = ByteAccount()
  let state = Lock(MetadataState())
  /// An object of a size that cannot be read was logged.
  let saidOversized = Atomic(false)
  let notifier = WorkerPool(named: "invalidate", threads: 1)
  let backlog = Lock(Backlog())
  let openHandler = Lock<Callback<OpenedFile, Void>?>(nil)
  let invalidationHandler = Lock<Callback<Invalidation, Bool>?>(nil)

  /// `prefix` is empty or ends in "/": the folder of the store that is the root of the mount.
  public convenience init(
    store: any ObjectStore, prefix: ObjectKey, engine: ReadEngine, options: FileSystemOptions,
    metrics: Metrics, log: Logger
  ) {
    self.init(
      store: store, prefix: prefix, engine: engine, options: options, metrics: metrics, log: log,
      clock: { .nowCountingSleep }, wallTime: FileSystem.wallClock)
  }

  /// `clock` tells the age of what is known; deadlines of the store go by the real one.
  init(
    store: any ObjectStore, prefix: ObjectKey, engine: ReadEngine, options: FileSystemOptions,
    metrics: Metrics, log: Logger, clock: @escaping @Sendable () -> Instant,
    wallTime: @escaping @Sendable () -> Int64 = FileSystem.wallClock
  ) {
    self.store = store
    self.prefix = prefix
    self.engine = engine
    self.options = options
    self.metrics = metrics
    self.log = log
    self.clock = clock
    self.wallTime = wallTime
    failures = StoreErrorLog(log: log)
    openSavedListings()
    engine.onChanged { [weak self] version in self?.objectChanged(version) }
  }

  /// Finds `name` in `parent` and takes one reference on the node found (given back by `forget`).
  /// ENOENT replies carry the time for which the kernel may remember that there is none.
  public func lookup(
    parent: NodeID, name: UnsafeRawBufferPointer, reply: @escaping Reply<LookupAnswer>
  ) {
    let folder: Place
    switch place(of: parent) {
    case .failure(let error): return reply(.failure(error))
    case .success(let place): folder = place
    }
    guard folder.kind == .folder else { return reply(.failure(.notDirectory)) }
    let name = Array(name)
    guard NameRules.isReachable(name) else {
      return reply(
        name.count > NameRules.maxNameLength
          ? .failure(.fileNameTooLong) : .success(.absent(validFor: options.metadataTTL)))
    }
    find(name, in: folder.folderKey) { [self] result in
      switch result {
      case .failure(let error): reply(.failure(report(error, during: "lookup")))
      case .success(let finding): reply(.success(answer(finding, folder.folderKey, name)))
      }
    }
  }

  /// Gives back `count` references that lookups and readdirplus entries took.
  public func forget(_ node: NodeID, count: UInt64) {
    let dropped = state.withLock { $0.forget(node, count: count) }
    if dropped != nil { metrics.metadata.listedDirectories.add(-1) }
  }

  /// ESTALE for a file node whose version is no longer the path's.
  public func attributes(of node: NodeID, reply: @escaping Reply<NodeAttributes>) {
    if node == Self.root { return reply(.success(rootAttributes())) }
    if let known = knownAttributes(of: node) { return reply(.success(known)) }
    confirm(node, during: "getattr") { [self] result in
      reply(
        result.flatMap { _ in
          state.withLock { state in
            guard let slot = state.nodes.slot(of: node), !state.nodes.isStale(slot) else {
              return .failure(.staleNFSFileHandle)
            }
            return .success(attributes(slot, &state))
          }
        })
    }
  }

  /// Those of a node in a fresh listing, without building its path.
  private func knownAttributes(of node: NodeID) -> NodeAttributes? {
    let now = clock()
    return state.withLock { state in
      guard let slot = state.nodes.slot(of: node),
        case .listed(let generation, _) = state.nodes.home(of: slot),
        let known = state.folders[generation.folder], known.listing === generation,
        known.isFresh(generation, ttl: options.metadataTTL, now: now)
      else { return nil }
      return attributes(slot, &state)
    }
  }

  /// Pins the listing's generation: cookies of one open folder index one listing.
  public func openFolder(_ node: NodeID, reply: @escaping Reply<OpenFolder>) {
    switch place(of: node) {
    case .failure(let error): reply(.failure(error))
    case .success(let place):
      guard place.kind == .folder else { return reply(.failure(.notDirectory)) }
      guard let generation = listing(of: place.folderKey, pinned: true) else {
        return reply(.failure(.ioError))
      }
      reply(.success(OpenFolder(fileSystem: self, generation: generation)))
      listAhead(of: place.folderKey)
    }
  }

  /// Opens the node's version. ESTALE if the path has another version by now: the kernel then looks
  /// the path up again by itself. EISDIR for a folder, EIO for an object that cannot be read.
  public func open(_ node: NodeID, reply: @escaping Reply<OpenFile>) {
    confirm(node, during: "open") { [self] result in
      switch result {
      case .failure(let error): reply(.failure(error))
      case .success(nil): reply(.failure(.isDirectory))
      case .success(let found?) where found.seen.isArchived && found.seen.kind == .file:
        openArchived(node, found, reply)
      case .success(let found?): reply(open(node, found))
      }
    }
  }

  /// A listing does not tell which of the archived objects have been restored: the store is asked.
  private func openArchived(_ id: NodeID, _ node: Node, _ reply: @escaping Reply<OpenFile>) {
    store.head(node.path, deadline: .now + options.ioTimeout) { [self] result in
      if case .success(let now) = result, !now.isArchived { return reply(open(id, node)) }
      var failure = StoreError(
        .archived, store: store.displayName, key: node.path, detail: "the object is archived",
        advice: "restore it in the store (aws s3api restore-object), then open it again")
      if case .failure(let error) = result { failure = error }
      reply(.failure(report(failure, during: "open")))
    }
  }

  private func open(_ id: NodeID, _ node: Node) -> Result<OpenFile, Errno> {
    if node.seen.kind == .folder { return .failure(.isDirectory) }
    let version = version(of: node)
    let object = engine.open(version)
    tellOpened(node, version, object)
    // A node is one version for ever, so the pages that the kernel has of it are always right.
    return .success(OpenFile(node: id, object: object, keepsPageCache: true))
  }

  /// `user.millrace.etag`, `.key` and `.state`; ENODATA for other names of users, and for folders.
  ///
  /// EOPNOTSUPP for all other kinds: there are no ACLs and no labels here. `ls -l` asks for three of
  /// them a file, and for none any more once it has heard so of a file system.
  public func extendedAttribute(
    of node: NodeID, name: UnsafeRawBufferPointer, reply: @escaping Reply<[UInt8]>
  ) {
    let name = String(decoding: name, as: UTF8.self)
    guard name.hasPrefix("user.") else { return reply(.failure(.notSupported)) }
    let found = state.withLock { $0.node(node) }
    guard node == Self.root || found != nil else { return reply(.failure(.staleNFSFileHandle)) }
    guard let found, found.seen.kind == .file else { return reply(.failure(.noData)) }
    switch name {
    case "user.millrace.etag" where !found.seen.etag.isEmpty:
      reply(.success(Array(VersionTag(found.seen.etag).etag.utf8)))
    case "user.millrace.version":
      guard let version = VersionTag(found.seen.etag).version else {
        return reply(.failure(.noData))
      }
      reply(.success(Array(version.utf8)))
    case "user.millrace.key": reply(.success(found.path.bytes))
    case "user.millrace.state":
      reply(.success(Array(engine.residence(of: version(of: found)).rawValue.utf8)))
    default: reply(.failure(.noData))
    }
  }

  /// The attribute names of a node.
  public func extendedAttributeNames(of node: NodeID, reply: @escaping Reply<[String]>) {
    let found = state.withLock { $0.node(node) }
    guard node == Self.root || found != nil else { return reply(.failure(.staleNFSFileHandle)) }
    guard let found, found.seen.kind == .file else { return reply(.success([])) }
    let etag = found.seen.etag.isEmpty ? [] : ["user.millrace.etag"]
    let version = VersionTag(found.seen.etag).version == nil ? [] : ["user.millrace.version"]
    reply(.success(etag + version + ["user.millrace.key", "user.millrace.state"]))
  }

  private func version(of node: Node) -> ObjectVersion {
    ObjectVersion(
      key: node.path, etag: node.seen.etag, size: node.seen.size ?? 0, modified: node.seen.modified)
  }

  public func statistics() -> FileSystemStatistics {
    var statistics = FileSystemStatistics()
    state.withLock { state in
      statistics.nodes = state.nodes.count
      statistics.listedDirectories = state.listedDirectories
      statistics.bytes = state.bytes
    }
    statistics.bytes += account.bytes
    statistics.limit = options.metadataLimit
    metrics.metadata.nodes.set(Int64(statistics.nodes))
    metrics.metadata.bytes.set(Int64(statistics.bytes))
    return statistics
  }

  /// What the kernel must drop, by a thread that holds no lock (the kernel may call back). The handler returns
  /// once it is done; false: this kernel cannot.
  public func onInvalidation(_ handler: @escaping @Sendable (Invalidation) -> Bool) {
    invalidationHandler.withLock { $0 = Callback(handler) }
  }

  /// Called when the disk tier has no file left to evict, on a thread of the engine: opens that
  /// are not needed are to be closed.
  public func onDiskPressure(_ handler: @escaping @Sendable () -> Void) {
    engine.onDiskPressure(handler)
  }

  /// Keeps the listings for the next mount, replies to what still waits (EIO) and stops.
  public func shutdown() {
    if state.withLock({ !$0.isShutDown }) { saveListings() }
    let (probes, runs) = state.withLock { state in
      state.isShutDown = true
      defer { state.probes = [:] }
      return (state.probes.values.flatMap(\.waiters), state.folders.values.compactMap(\.run))
    }
    let error = StoreError(.cancelled, store: store.displayName, detail: "shutting down")
    for waiter in probes { waiter(.failure(error)) }
    for run in runs { run.cancel(error) }
    notifier.shutdown()
  }
}
