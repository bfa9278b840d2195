import Logging
import Metrics
import ObjectStore
import Posix
import Synchronization
import SystemPackage

/// How a name is found: from an inode, from a listing, by joining a listing in flight, or by asking the store.
final class LookupService: Sendable {
  typealias Waiter = PendingLookup.Waiter

  private let context: MountContext
  private let cache: MetadataCache
  private let persistence: ListingPersistence
  private let lister: DirectoryLister
  private let kernel: KernelInvalidator
  /// An object of a size that cannot be read was logged.
  private let loggedOversized = Atomic(false)

  init(
    _ context: MountContext, cache: MetadataCache, persistence: ListingPersistence,
    lister: DirectoryLister, kernel: KernelInvalidator
  ) {
    self.context = context
    self.cache = cache
    self.persistence = persistence
    self.lister = lister
    self.kernel = kernel
  }

  // MARK: Inodes

  /// Finds a name in a directory, and retains its inode.
  func lookUp(
    _ name: [UInt8], in directory: ObjectKey, reply: @escaping Reply<LookupAnswer>
  ) {
    find(name, in: directory) { [self] result in
      switch result {
      case .failure(let error): reply(.failure(context.report(error, during: "lookup")))
      case .success(let found):
        let (answer, replaced) = cache.answer(found, name, in: directory)
        if let replaced { kernel.invalidate(replaced, name, in: directory) }
        reply(.success(answer))
      }
    }
  }

  /// Makes sure that an inode is what its path has, asking if what is known is too old. Replies with
  /// nil for the root; ESTALE if the path has another version by now.
  func confirm(_ id: NodeID, during operation: String, reply: @escaping Reply<Node?>) {
    if id == FileSystem.root { return reply(.success(nil)) }
    guard let node = cache.resolve(id), !node.isStale else {
      return reply(.failure(.staleNFSFileHandle))
    }
    find(node.name, in: node.directory) { [self] result in
      switch result {
      case .failure(let error): reply(.failure(context.report(error, during: operation)))
      case .success(let found):
        let (now, replaced) = cache.observe(found, of: id, at: node)
        if let replaced { kernel.invalidate(replaced, node.name, in: node.directory) }
        guard let now, !now.isStale else { return reply(.failure(.staleNFSFileHandle)) }
        reply(.success(now))
      }
    }
  }

  /// The key of an inode's own directory; ESTALE, ENOTDIR.
  func directory(of id: NodeID) -> Result<ObjectKey, Errno> {
    if id == FileSystem.root { return .success(context.paths.root) }
    guard let node = cache.resolve(id), !node.isStale else { return .failure(.staleNFSFileHandle) }
    guard node.seen.kind == .folder else { return .failure(.notDirectory) }
    return .success(node.path + [NameRules.slash])
  }

  /// Retains the inodes of entries for readdirplus, see `MetadataState.retain`.
  func retain(
    _ entries: DirectoryListing.Slice, of listing: DirectoryListing, from index: Int,
    where isWanted: (DirentBlock.Entry) -> Bool
  ) -> [NodeAttributes?] {
    let (attributes, replaced) = cache.retain(entries, of: listing, from: index, where: isWanted)
    kernel.invalidate(replaced, in: listing.directory)
    return attributes
  }

  /// Gives references back.
  func release(_ node: NodeID, count: UInt64) { cache.release(node, count: count) }

  // MARK: Finding

  /// `mayWait`: a listing in flight may be waited for (once; its first page bounds the wait). `mayRestore`: what an
  /// earlier mount kept of the directory is not in the cache yet.
  func find(
    _ name: [UInt8], in directory: ObjectKey, mayWait: Bool = true, mayRestore: Bool = true,
    reply: @escaping Waiter
  ) {
    let mayRestore = mayRestore && persistence.hasMore
    switch cache.lookUp(name, in: directory, mayWait: mayWait, mayRestore: mayRestore, reply) {
    case .restore:
      persistence.restore(directory)
      find(name, in: directory, mayWait: mayWait, mayRestore: false, reply: reply)
    case .done(let result): reply(.success(result))
    case .join(let listing): join(listing, name, in: directory, reply)
    case .list:
      guard let listing = lister.listing(of: directory) else {
        return reply(.failure(context.shuttingDown))
      }
      join(listing, name, in: directory, reply)
    case .ask(let number, let needsDirectory):
      ask(directory + name, number, needsDirectory: needsDirectory)
    case .wait: break
    case .shutDown: reply(.failure(context.shuttingDown))
    }
  }

  private func join(
    _ listing: DirectoryListing, _ name: [UInt8], in directory: ObjectKey,
    _ reply: @escaping Waiter
  ) {
    listing.waitForFirstPage { [self] in
      switch listing.outcome(of: name) {
      case .decided(let result): reply(.success(result))
      case .needsHead, .undecided: find(name, in: directory, mayWait: false, reply: reply)
      }
    }
  }

  /// Sends both requests at once.
  private func ask(_ path: ObjectKey, _ number: UInt64, needsDirectory: Bool) {
    let deadline = context.deadline
    context.store.head(path, deadline: deadline) { [self] result in
      let file: Result<ObjectAttributes?, StoreError> =
        switch result {
        case .success(let object): .success(shown(object))
        case .failure(let error) where error.kind == .notFound: .success(nil)
        case .failure(let error): .failure(error)
        }
      advance(path, number) { $0.file = file }
    }
    guard needsDirectory else { return }
    let request = ListRequest(folder: path + [NameRules.slash], limit: 1, deadline: deadline)
    context.store.list(request) { [self] result in
      let directory: Result<Observation?, StoreError> =
        switch result {
        case .success(let page):
          .success(page.showsDirectory ? .folder(etag: page.folderETag) : nil)
        case .failure(let error) where error.kind == .notFound: .success(nil)
        case .failure(let error): .failure(error)
        }
      advance(path, number) { $0.directory = directory }
    }
  }

  private func advance(
    _ path: ObjectKey, _ number: UInt64, _ change: (inout PendingLookup) -> Void
  ) {
    guard let (answer, waiters) = cache.advance(path, number: number, change) else { return }
    for waiter in waiters { waiter(answer) }
  }

  /// Nil for an object that no mount can read: it is hidden here as it is in listings.
  private func shown(_ object: ObjectAttributes) -> ObjectAttributes? {
    guard object.isOversized else { return object }
    context.metrics.metadata.hiddenNames.add()
    if !loggedOversized.exchange(true, ordering: .relaxed) {
      context.log.warning(
        """
        \(context.store.displayName): \(object.key): the store states more than \(ObjectSize.limit) bytes; such \
        objects are not shown (docs/semantics.md)
        """)
    }
    return nil
  }
}

extension ListPage {
  /// Whether a page shows that the directory it is of exists.
  fileprivate var showsDirectory: Bool {
    folderExists || !objects.isEmpty || !folders.isEmpty || next != nil
  }
}
