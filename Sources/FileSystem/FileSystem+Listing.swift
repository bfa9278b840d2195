/// Fetching listings, and forgetting what is known.
import Logging
import Metrics
import ObjectStore
import Posix

extension FileSystem {
  /// The folder's listing: the newest one if it is fresh, else the one under way, else a new one.
  /// Nil when shutting down. `pinned` listings are given back by `unpin`.
  func listing(of folder: ObjectKey, pinned: Bool = false) -> DirectoryListing? {
    let now = clock()
    let (generation, wanted, isNew) = state.withLock {
      state -> (DirectoryListing?, ListingFetcher?, Bool) in
      if state.isShutDown { return (nil, nil, false) }
      loadSaved(&state, folder, now: now)
      // One that began before an object was seen to change may show it as it was. One that is complete and not taken
      // over yet is joined only while it is fresh: a reader may have seen its end.
      if let known = state.folders[folder], let fetching = known.fetching,
        fetching.started < known.invalidBefore
          || fetching.isComplete
            && !known.isFresh(fetching, ttl: options.metadataTTL, now: now)
      {
        state.abandon(fetching)
      }
      var known = state.folders[folder] ?? DirectoryState()
      known.lastUsed = now
      if pinned || known.isAhead { state.walk.opened(wasAhead: known.isAhead) }
      known.isAhead = false
      defer { state.folders[folder] = known }
      if let listing = known.listing, known.isFresh(listing, ttl: options.metadataTTL, now: now) {
        if pinned { listing.pin() }
        return (listing, nil, false)
      }
      if let fetching = known.fetching {
        if pinned { fetching.pin() }
        return (fetching, known.run, false)
      }
      let run = newRun(of: folder, at: now, isAhead: false, state.begins)
      if pinned { run.generation.pin() }
      known.fetching = run.generation
      known.run = run
      return (run.generation, run, true)
    }
    if isNew { wanted?.start() } else { wanted?.isWanted() }
    return generation
  }

  /// Lists a folder anew, whatever is known of it. Nil when shutting down.
  func relist(_ folder: ObjectKey) -> (old: DirectoryListing?, run: ListingFetcher)? {
    let now = clock()
    let started = state.withLock { state -> (DirectoryListing?, ListingFetcher)? in
      if state.isShutDown { return nil }
      if let fetching = state.folders[folder]?.fetching { state.abandon(fetching) }
      var known = state.folders[folder] ?? DirectoryState()
      known.invalidBefore = now
      known.lastUsed = now
      let run = newRun(of: folder, at: now, isAhead: false, state.begins)
      known.fetching = run.generation
      known.run = run
      state.folders[folder] = known
      return (known.listing, run)
    }
    started?.1.start()
    return started
  }

  private func newRun(
    of folder: ObjectKey, at now: Instant, isAhead: Bool, _ beginsAnywhere: Bool?
  ) -> ListingFetcher {
    let generation = DirectoryListing(
      folder: folder, started: now, listingHasAttributes: store.traits.listingHasAttributes,
      account: account)
    return ListingFetcher(
      generation, store: store, timeout: options.ioTimeout,
      maySplit: store.traits.listsFromAnyName && beginsAnywhere != false,
      isTrusted: beginsAnywhere == true, isAhead: isAhead,
      budget: ListingBudget(bytesMax: options.listingLimit),
      events: ListingFetcher.Events(
        mayGoOn: { [weak self] in self?.state.withLock { $0.walk.takePage() } ?? false },
        learned: { [weak self] works in self?.state.withLock { $0.begins = works } },
        grew: { [weak self] in self?.trim() },
        ended: { [weak self] generation, result, wasAhead in
          self?.ended(generation, result, wasAhead)
        }))
  }

  /// Lists what a walk that has come to `folder` will come to next, as far as that has been earned.
  func listAhead(of folder: ObjectKey) {
    let now = clock()
    let ttl = options.metadataTTL
    guard folder != prefix, ttl > .zero else { return }
    giveUpAhead(at: now)
    let runs = state.withLock { state -> [ListingFetcher] in
      // What is listed ahead pushes out what was used longest ago, but not each other.
      let usual = max(1, account.bytes / max(1, state.folders.count))
      let allowance = min(state.walk.allowance, options.metadataLimit / 4 / usual)
      guard allowance > 0, !state.isShutDown else { return [] }
      let next = state.following(folder, root: prefix, wanted: allowance) { known in
        known.fetching != nil
          || known.listing.map { known.isFresh($0, ttl: ttl, now: now) } ?? false
      }
      return next.map { key in
        let run = newRun(of: key, at: now, isAhead: true, state.begins)
        state.folders[key, default: DirectoryState()].fetching = run.generation
        state.folders[key]?.run = run
        state.folders[key]?.isAhead = true
        state.folders[key]?.lastUsed = now
        state.walk.begin(key, at: now)
        return run
      }
    }
    metrics.metadata.prefetchedListings.add(runs.count)
    for run in runs { run.start() }
  }

  /// Listings made ahead that were not requested in time no longer count as ahead; paused ones are ended.
  private func giveUpAhead(at now: Instant) {
    let runs = state.withLock { state in
      state.walk.takeOld(at: now).compactMap { folder -> ListingFetcher? in
        guard state.folders[folder]?.isAhead == true else { return nil }
        state.folders[folder]?.isAhead = false
        state.walk.wasted()
        guard let run = state.folders[folder]?.run, run.isPaused else { return nil }
        // A later request begins anew.
        state.abandon(run.generation)
        return run
      }
    }
    for run in runs { run.cancel(ending()) }
  }

  private func ended(
    _ generation: DirectoryListing, _ result: Result<Int, StoreError>, _ wasAhead: Bool
  ) {
    switch result {
    case .success(let hidden):
      complete(generation, hidden: hidden)
      saveSometimes()
    case .failure(let error):
      // No caller has requested a listing made ahead: one that does requests it again.
      if !wasAhead { _ = report(error, during: "list") }
      state.withLock { $0.abandon(generation) }
      generation.fail(error)
    }
    trimNow()
  }

  private func complete(_ generation: DirectoryListing, hidden: Int) {
    metrics.metadata.hiddenNames.add(hidden)
    if hidden > 0 {
      log.info(
        """
        \(store.displayName)/\(generation.folder): \(hidden) names are not representable: no path \
        reaches them, a directory has the same name, or their size is invalid (docs/semantics.md)
        """)
    }
    let (replaced, appeared) = state.withLock { state -> ([MetadataState.Replaced], [[UInt8]]) in
      let isFirst = state.folders[generation.folder]?.listing == nil
      guard let replaced = state.adopt(generation) else { return ([], []) }
      if isFirst { metrics.metadata.listedDirectories.add(1) }
      return (replaced, state.takeAppeared(in: generation.folder))
    }
    for gone in replaced { invalidate(gone.node, generation.folder, gone.name) }
    for name in appeared { invalidate(nil, generation.folder, name) }
  }

  func unpin(_ generation: DirectoryListing) {
    generation.unpin()
    trimNow()
  }

  /// Something may go that could not a moment ago, and nothing else need happen after this.
  private func trimNow() {
    state.withLock { $0.trimsFrom = Instant(nanoseconds: 0) }
    trim()
  }

  /// Keeps `metadataLimit` by dropping listings that no reader has open, the longest unused first. The
  /// kernel is asked to forget what it still refers to; this is dropped when the kernel has done so.
  func trim() {
    let limit = options.metadataLimit
    let now = clock()
    let held = account.bytes
    let (dropped, releasing) = state.withLock { state -> ([DirectoryListing], [DirectoryListing]) in
      let excess = held + state.bytes - limit
      guard excess > 0, Instant.now >= state.trimsFrom else { return ([], []) }
      // A tenth more than needed, so that the next page does not search again.
      let (dropped, releasing) = state.drop(excess: excess + limit / 10, now: now)
      // All that could go is gone or asked for: the next page need not look through everything again.
      if dropped.isEmpty { state.trimsFrom = .now + .milliseconds(100) }
      return (dropped, releasing)
    }
    // Their memory goes at the end of this, outside the lock.
    metrics.metadata.listedDirectories.add(-Int64(dropped.count))
    for generation in releasing { release(generation) }
  }

  /// Has the kernel let go of the names of a listing that is to be dropped.
  private func release(_ generation: DirectoryListing) {
    _ = notifier.submit { [self] in
      guard let handler = invalidationHandler.withLock({ $0 }) else { return }
      let parent = state.withLock { $0.nodeID(ofFolder: generation.folder, root: prefix) }
      guard let parent else { return }
      generation.forEachChunk { _, chunk in
        for offset in 0..<chunk.count where state.withLock({ _ in chunk.node(at: offset) != 0 }) {
          _ = handler(.entry(parent: parent, name: Array(chunk.name(chunk[offset]))))
        }
      }
    }
  }

  /// References on the nodes of entries for readdirplus, from `index` on. Nil where the kernel must
  /// look up itself: the listing is too old to vouch, or does not know the size.
  func takeNodes(
    of generation: DirectoryListing, from index: Int, _ slice: DirectoryListing.Slice,
    where isWanted: (DirentBlock.Entry) -> Bool
  ) -> [NodeAttributes?] {
    let now = clock()
    var replaced: [MetadataState.Replaced] = []
    let taken = state.withLock { state -> [NodeAttributes?] in
      guard let known = state.folders[generation.folder],
        known.isFresh(generation, ttl: options.metadataTTL, now: now)
      else { return slice.entries.map { _ in nil } }
      let home: DirectoryListing
      if known.listing === generation || known.fetching === generation {
        home = generation
      } else if let listing = known.listing, listing.hasSameEntries(as: generation) {
        home = listing
      } else {
        return slice.entries.map { _ in nil }
      }
      return slice.entries.enumerated().map { offset, entry in
        guard !entry.flags.contains(.needsHead), isWanted(entry) else { return nil }
        let (slot, old) = state.takeListed(home, index + offset)
        if let old {
          replaced.append(MetadataState.Replaced(node: old, name: Array(slice.chunk.name(entry))))
        }
        return attributes(slot, &state)
      }
    }
    for gone in replaced { invalidate(gone.node, generation.folder, gone.name) }
    return taken
  }

  /// The engine met another version than the one it reads: believe nothing older than now.
  func objectChanged(_ version: ObjectVersion) {
    if let frozenBy = options.frozenBy { return tellOnce(version, frozenBy) }
    let now = clock()
    let (folder, name) = split(version.key)
    let stale = state.withLock { state -> NodeID? in
      state.folders[folder, default: DirectoryState()].invalidBefore = now
      guard let slot = state.current(folder, name) else { return nil }
      let read = Observation(
        kind: .file, size: version.size, modified: version.modified, etag: version.etag)
      // The path may have moved on to the newer version before.
      return state.seen(slot).isSameVersion(as: read) ? state.expire(slot, folder, name) : nil
    }
    if let stale { invalidate(stale, folder, name) }
  }

  /// Names are fixed: the object stays as it was said to be, and reading what is not here yet fails.
  private func tellOnce(_ version: ObjectVersion, _ frozenBy: String) {
    let isNews = state.withLock { state in
      state.changed.count < Self.changedLimit && state.changed.insert(version.key).inserted
    }
    guard isNews else { return }
    metrics.metadata.staleObjects.add()
    log.error(
      """
      \(store.displayName)/\(version.key): changed or deleted in the store since \(frozenBy) was made; \
      uncached parts fail with ESTALE; run millrace snapshot diff for the full list
      """)
  }

  /// Changed objects that are remembered as reported, at most.
  private static let changedLimit = 100_000

}

extension ListPage {
  /// Whether a page shows that the folder it is of exists.
  var showsFolder: Bool { folderExists || !objects.isEmpty || !folders.isEmpty || next != nil }
}
