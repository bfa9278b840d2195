import Metrics
import ObjectStore
import Posix

/// Has the kernel drop names and inodes: by one thread that holds no lock, because the kernel may wait for a
/// request of its own to be answered first.
final class KernelInvalidator: Sendable {
  private struct Backlog {
    var waiting = InvalidationBacklog()
    /// A job of the worker's works on it.
    var isDraining = false
  }

  private typealias Handler = Callback<Invalidation, Bool>

  private let cache: MetadataCache
  private let root: ObjectKey
  private let overflows: Counter
  private let worker: WorkerPool
  private let backlog = Lock(Backlog())
  private let handler = Lock<Handler?>(nil)

  /// `worker`: a single thread.
  init(_ context: MountContext, cache: MetadataCache, worker: WorkerPool) {
    self.cache = cache
    self.worker = worker
    root = context.paths.root
    overflows = context.metrics.metadata.invalidationOverflows
  }

  /// Called on the worker for each thing to drop; returns once the kernel has dropped it. False: this kernel cannot.
  func onInvalidation(_ body: @escaping @Sendable (Invalidation) -> Bool) {
    handler.withLock { $0 = Callback(body) }
  }

  /// Has the kernel drop a name, and the inode that it led to.
  func invalidate(_ node: NodeID?, _ name: [UInt8], in directory: ObjectKey) {
    backlog.withLock { backlog in
      let before = backlog.waiting.overflows
      backlog.waiting.add(name, of: directory, node: node)
      if backlog.waiting.overflows > before { overflows.add() }
      // Under the lock, so that who waits for the worker after this waits for the name. Refused while there is no
      // thread: the next one tries again.
      if !backlog.isDraining { backlog.isDraining = worker.submit { [self] in drain() } }
    }
  }

  func invalidate(_ replaced: [NameTree.Replaced], in directory: ObjectKey) {
    for gone in replaced { invalidate(gone.node, gone.name, in: directory) }
  }

  /// Has the kernel drop names. `isEverything`: these are all that it has, and it may drop all it has.
  func drop(_ names: [MetadataState.Names], isEverything: Bool = false) {
    let isTaken = worker.submit { [self] in
      guard let handler = handler.withLock({ $0 }) else { return }
      if isEverything, handler(.everything) { return }
      for (directory, names) in names { drop(names, in: directory, handler) }
    }
    if isTaken { return }
    // Without a thread they wait in the backlog, which the next invalidation works off.
    for (directory, names) in names {
      for name in names { invalidate(nil, name, in: directory) }
    }
  }

  /// Has the kernel forget the names of a listing that is to be dropped.
  func dropEntries(of listing: DirectoryListing) {
    _ = worker.submit { [self] in
      guard let handler = handler.withLock({ $0 }),
        let parent = cache.nodeID(of: listing.directory)
      else { return }
      listing.forEachBlock { first, block in
        for offset in 0..<block.count where cache.hasInode(first + offset, of: listing) {
          _ = handler(.entry(parent: parent, name: Array(block.name(block[offset]))))
        }
      }
    }
  }

  /// Runs `body` once the kernel has dropped what was added before; at once if that cannot be waited for.
  func afterInvalidations(_ body: @escaping @Sendable () -> Void) {
    if !worker.submit(body) { body() }
  }

  /// Waits until the kernel has dropped what was added before, but not longer than `time`.
  func waitForInvalidations(within time: Duration) {
    let done = Monitor(false)
    afterInvalidations { done.signal(all: true) { $0 = true } }
    _ = done.wait(until: .now + time) { $0 ? true : nil }
  }

  private func drain() {
    while true {
      let batch = backlog.withLock { backlog in
        let batch = backlog.waiting.removeFirst(256)
        if batch.isEmpty { backlog.isDraining = false }
        return batch
      }
      if batch.isEmpty { return }
      guard let handler = handler.withLock({ $0 }) else { continue }
      for target in batch { deliver(target, handler) }
    }
  }

  private func deliver(_ target: InvalidationBacklog.Target, _ handler: Handler) {
    switch target {
    case .name(let directory, let name, let node):
      drop([name], in: directory, handler)
      if let node { _ = handler(.node(node)) }
    case .names(of: let directory) where directory == root: dropEverything(handler)
    case .names(of: let directory):
      // With the directory's own name go those below it.
      let (parent, name) = MountPaths.split(directory: directory)
      drop([name], in: parent, handler)
    case .everything: dropEverything(handler)
    }
  }

  private func drop(_ names: [[UInt8]], in directory: ObjectKey, _ handler: Handler) {
    guard let parent = cache.nodeID(of: directory) else { return }
    for name in names { _ = handler(.entry(parent: parent, name: name)) }
  }

  /// At once where the kernel can (Linux 6.16); else each name of the root, and with it what is below. A name
  /// that is in use below the root may then stay until its time is over.
  private func dropEverything(_ handler: Handler) {
    // Before the kernel drops them: what is given out from now on is known again.
    let absent = cache.removeAbsent()
    if handler(.everything) { return }
    for (directory, names) in absent { drop(names, in: directory, handler) }
    for name in cache.allNames(in: root) {
      _ = handler(.entry(parent: FileSystem.root, name: name))
    }
  }
}
