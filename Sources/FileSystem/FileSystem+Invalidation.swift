/// Having the kernel drop names and nodes: by one thread that holds no lock, because the kernel may wait for a
/// request of its own to be answered first.
import Metrics
import ObjectStore
import Posix

extension FileSystem {
  struct Backlog {
    var waiting = InvalidationBacklog()
    /// A job of the notifier's works on it.
    var isDraining = false
  }

  /// Has the kernel drop a name, and the node that it led to.
  func invalidate(_ node: NodeID?, _ folder: ObjectKey, _ name: [UInt8]) {
    backlog.withLock { backlog in
      let before = backlog.waiting.overflows
      backlog.waiting.add(name, of: folder, node: node)
      if backlog.waiting.overflows > before { metrics.metadata.invalidationOverflows.add() }
      // Under the lock, so that who waits for the notifier after this waits for the name. Refused while there is no
      // thread: the next one tries again.
      if !backlog.isDraining { backlog.isDraining = notifier.submit { [self] in drain() } }
    }
  }

  /// Runs `body` once the kernel has dropped what was added before; at once if that cannot be waited for.
  public func afterInvalidations(_ body: @escaping @Sendable () -> Void) {
    if !notifier.submit(body) { body() }
  }

  /// Waits until the kernel has dropped what was added before, but not longer than `time`.
  public func waitForInvalidations(within time: Duration) {
    let done = Monitor(false)
    afterInvalidations { done.signal(all: true) { $0 = true } }
    _ = done.wait(until: .now + time) { $0 ? true : nil }
  }

  private func drain() {
    while true {
      let batch = backlog.withLock { backlog in
        let batch = backlog.waiting.take(256)
        if batch.isEmpty { backlog.isDraining = false }
        return batch
      }
      if batch.isEmpty { return }
      guard let handler = invalidationHandler.withLock({ $0 }) else { continue }
      for target in batch { deliver(target, handler) }
    }
  }

  private func deliver(
    _ target: InvalidationBacklog.Target, _ handler: Callback<Invalidation, Bool>
  ) {
    switch target {
    case .name(let folder, let name, let node):
      let parent = state.withLock { $0.nodeID(ofFolder: folder, root: prefix) }
      if let parent { _ = handler(.entry(parent: parent, name: name)) }
      if let node { _ = handler(.node(node)) }
    case .names(of: let folder) where folder == prefix: dropEverything(handler)
    case .names(of: let folder):
      // With the folder's own name go those below it.
      let (above, name) = split(ObjectKey(bytes: folder.bytes.dropLast()))
      let parent = state.withLock { $0.nodeID(ofFolder: above, root: prefix) }
      if let parent { _ = handler(.entry(parent: parent, name: name)) }
    case .everything: dropEverything(handler)
    }
  }

  /// At once where the kernel can (Linux 6.16); else each name of the root, and with it what is below. A name
  /// that is in use below the root may then stay until its time is over.
  private func dropEverything(_ handler: Callback<Invalidation, Bool>) {
    // Before the kernel drops them: what is given out from now on is known again.
    let absent = state.withLock { $0.absent.take { _ in true } }
    if handler(.everything) { return }
    for (folder, names) in absent { drop(names, of: folder, handler) }
    let names = state.withLock { $0.allNames(in: prefix) }
    for name in names { _ = handler(.entry(parent: Self.root, name: name)) }
  }
}

extension MetadataState {
  /// Every name of a folder that is known, whether the kernel has it or not.
  fileprivate func allNames(in folder: ObjectKey) -> [[UInt8]] {
    guard let known = folders[folder] else { return [] }
    var names = Array(known.loose.keys)
    for generation in [known.listing, known.fetching] {
      generation?.forEachChunk { _, chunk in
        for offset in 0..<chunk.count { names.append(Array(chunk.name(chunk[offset]))) }
      }
    }
    return names
  }
}
