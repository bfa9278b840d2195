/// Fetching listings, and forgetting what is known.
import Logging
import Metrics
import ObjectStore
import Posix

extension FileSystem {
  /// The folder's listing: the newest one if it is fresh, else the one under way, else a new one.
  /// Nil when shutting down. `pinned` listings are given back by `unpin`.
  func listing(of folder: ObjectKey, pinned: Bool = false) -> Generation? {
    let now = clock()
    let (generation, isNew) = state.withLock { state -> (Generation?, Bool) in
      if state.isShutDown { return (nil, false) }
      var known = state.folders[folder] ?? FolderState()
      known.lastUsed = now
      defer { state.folders[folder] = known }
      if let listing = known.listing,
        known.isFresh(listing, ttl: options.metadataTTL, now: now)
      {
        if pinned { listing.pin() }
        return (listing, false)
      }
      // One that began before an object was seen to change may show it as it was.
      if let fetching = known.fetching, fetching.started >= known.distrustedBefore {
        if pinned { fetching.pin() }
        return (fetching, false)
      }
      let started = Generation(
        folder: folder, started: now, listingHasAttributes: store.traits.listingHasAttributes,
        account: account)
      if pinned { started.pin() }
      known.fetching = started
      return (started, true)
    }
    if isNew, let generation { fetchPage(of: generation, cursor: nil) }
    return generation
  }

  /// One page after the other: the cursor of the next is in the one before.
  private func fetchPage(of generation: Generation, cursor: String?) {
    let request = ListRequest(
      folder: generation.folder, cursor: cursor, deadline: .now + options.ioTimeout)
    store.list(request) { [self] result in
      switch result {
      case .success(let page) where page.next != nil && page.next == cursor:
        end(
          generation,
          with: StoreError(
            .badReply, store: store.displayName, key: generation.folder,
            detail: "the listing does not move on: a page names itself as the next"))
      case .success(let page):
        let hidden = generation.add(page)
        if let hidden {
          complete(generation, hidden: hidden)
        } else if state.withLock({ $0.isShutDown }) {
          generation.fail(ending())
        } else {
          fetchPage(of: generation, cursor: page.next)
        }
        trim()
      case .failure(let error) where error.kind == .notFound:
        // Gone, or never there: empty, like a prefix without keys.
        let hidden = generation.add(ListPage(objects: [], folders: [], next: nil))
        complete(generation, hidden: hidden ?? 0)
      case .failure(let error): end(generation, with: error)
      }
    }
  }

  private func complete(_ generation: Generation, hidden: Int) {
    metrics.names.hiddenNames.add(hidden)
    if hidden > 0 {
      log.info(
        "\(store.displayName)/\(generation.folder): \(hidden) names hidden (docs/semantics.md)")
    }
    state.withLock { state in
      guard state.folders[generation.folder]?.fetching === generation else { return }
      state.folders[generation.folder]?.fetching = nil
      if state.folders[generation.folder]?.listing == nil { metrics.names.listedFolders.add(1) }
      state.folders[generation.folder]?.listing = generation
    }
    updateGauges()
  }

  private func end(_ generation: Generation, with error: StoreError) {
    _ = report(error, during: "list")
    state.withLock { state in
      guard state.folders[generation.folder]?.fetching === generation else { return }
      state.folders[generation.folder]?.fetching = nil
    }
    generation.fail(error)
  }

  func unpin(_ generation: Generation) {
    generation.unpin()
    trim()
  }

  /// Keeps `metadataLimit` by dropping listings that nobody reads, the longest unused first.
  func trim() {
    let limit = options.metadataLimit
    let held = account.bytes
    let dropped = state.withLock { state -> [Generation] in
      let excess = held + state.nodes.bytes - limit
      // A tenth more than needed, so that the next page does not search again.
      return excess > 0 ? state.drop(excess: excess + limit / 10) : []
    }
    // Their memory goes at the end of this, outside the lock.
    metrics.names.listedFolders.add(-Int64(dropped.count))
    updateGauges()
  }

  /// References on the nodes of entries for readdirplus. Nil where the kernel must look up itself:
  /// the listing is too old to vouch, or does not know the size.
  func takeNodes(
    of generation: Generation, _ items: [(name: [UInt8], seen: Seen)]
  ) -> [NodeAttributes?] {
    let now = clock()
    var replacements: [(NodeID, ObjectKey)] = []
    let taken = state.withLock { state -> [(NodeID, NodeTable.Node)?] in
      let known = state.folders[generation.folder] ?? FolderState()
      guard known.isFresh(generation, ttl: options.metadataTTL, now: now) else {
        return items.map { _ in nil }
      }
      return items.map { item in
        guard item.seen.size != nil else { return nil }
        let path = generation.folder + item.name
        let (id, node, replaced) = state.nodes.take(path, item.seen, at: generation.started)
        if let replaced { replacements.append((replaced, path)) }
        return (id, node)
      }
    }
    for (id, path) in replacements { invalidate(id, path) }
    return taken.map { $0.map { attributes($0.0, $0.1) } }
  }

  /// The engine met another version than the one it reads: believe nothing older than now.
  func objectChanged(_ version: ObjectVersion) {
    let now = clock()
    let folder = split(version.key).folder
    let stale = state.withLock { state -> NodeID? in
      state.folders[folder, default: FolderState()].distrustedBefore = now
      guard let (_, node) = state.nodes.current(version.key) else { return nil }
      let read = Seen(
        kind: .file, size: version.size, modified: version.modified, etag: version.etag)
      // The path may have moved on to the newer version before.
      return node.seen.isSameVersion(as: read) ? state.nodes.expire(version.key) : nil
    }
    if let stale { invalidate(stale, version.key) }
  }

  /// Has the kernel drop a node and the name that led to it, from the notifier's thread.
  func invalidate(_ node: NodeID, _ path: ObjectKey) {
    let (folder, name) = split(path)
    let parent = state.withLock { state -> NodeID? in
      if folder == prefix { return Self.root }
      return state.nodes.current(ObjectKey(bytes: folder.bytes.dropLast()))?.id
    }
    guard let handler = invalidationHandler.withLock({ $0 }) else { return }
    _ = notifier.submit {
      if let parent { handler(.entry(parent: parent, name: name)) }
      handler(.node(node))
    }
  }

  func updateGauges() {
    let (nodes, bytes) = state.withLock { ($0.nodes.count, $0.nodes.bytes) }
    metrics.names.nodes.set(Int64(nodes))
    metrics.names.bytes.set(Int64(bytes + account.bytes))
  }
}

extension ListPage {
  /// Whether a page shows that the folder it is of exists.
  var showsFolder: Bool { folderExists || !objects.isEmpty || !folders.isEmpty || next != nil }
}
