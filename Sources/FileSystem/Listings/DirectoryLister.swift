import Logging
import Metrics
import ObjectStore
import Posix

/// The listings of directories: from the cache, from the disk, by joining one in flight, or from the store.
final class DirectoryLister: Sendable {
  private struct State {
    /// By the number of the listing: those whose directory waits for them.
    var fetchers: [ListingID: ListingFetcher] = [:]
    var isShutDown = false
  }

  private let context: MountContext
  private let cache: MetadataCache
  private let persistence: ListingPersistence
  private let kernel: KernelInvalidator
  private let evictor: MetadataEvictor
  private let state = Lock(State())

  init(
    _ context: MountContext, cache: MetadataCache, persistence: ListingPersistence,
    kernel: KernelInvalidator
  ) {
    self.context = context
    self.cache = cache
    self.persistence = persistence
    self.kernel = kernel
    evictor = MetadataEvictor(context, cache: cache, kernel: kernel)
  }

  /// The directory's listing: the newest one if it is valid, else the one in flight, else a new one. Nil when shutting
  /// down. `isOpened`: it is pinned for a reader, which gives it back by `close`.
  func listing(of directory: ObjectKey, isOpened: Bool = false) -> DirectoryListing? {
    persistence.restore(directory)
    guard let (access, abandoned) = cache.requestListing(of: directory, isOpened: isOpened) else {
      return nil
    }
    if let abandoned { remove(abandoned) }
    switch access {
    case .cached: break
    case .joined(_, let resume): resume?()
    case .begun(let listing): fetcher(of: listing).start()
    }
    return access.listing
  }

  /// Lists a directory anew, whatever is known of it. Returns the newest listing before it. Nil when shutting down.
  func relist(_ directory: ObjectKey) -> (old: DirectoryListing?, fetcher: ListingFetcher)? {
    guard let (listing, abandoned, old) = cache.relist(directory) else { return nil }
    persistence.drop(directory)
    if let abandoned { remove(abandoned) }
    let fetcher = fetcher(of: listing)
    fetcher.start()
    return (old, fetcher)
  }

  /// Lists what a traversal that has come to a directory will come to next, as far as that has been earned.
  func listAhead(of directory: ObjectKey) {
    guard directory != context.paths.root, context.options.metadataTTL > .zero else { return }
    for listing in cache.expireAhead() {
      // A later request begins anew.
      remove(listing)?.cancel(context.shuttingDown)
    }
    let listings = cache.listAhead(of: directory) { [persistence] in persistence.isKept($0) }
    context.metrics.metadata.prefetchedListings.add(listings.count)
    for listing in listings { fetcher(of: listing).start() }
  }

  /// Where a name stands in the listing of its directory, if that is known.
  func index(of name: [UInt8], in directory: ObjectKey) -> Int? {
    let listing = cache.newestListing(of: directory)
    return listing.flatMap { listing in name.withUnsafeBytes { listing.shown($0) } }
  }

  /// Gives back an opened listing.
  func close(_ listing: DirectoryListing) {
    listing.unpin()
    evictor.evict(always: true)
  }

  /// Ends the fetching of all listings.
  func shutDown() {
    let fetchers = state.withLock { state in
      state.isShutDown = true
      defer { state.fetchers = [:] }
      return state.fetchers.values.map { $0 }
    }
    for fetcher in fetchers { fetcher.cancel(context.shuttingDown) }
  }

  // MARK: Fetching

  private func fetcher(of listing: DirectoryListing) -> ListingFetcher {
    let beginsAnywhere = cache.beginsAnywhere
    let fetcher = ListingFetcher(
      listing, store: context.store,
      terms: ListingFetcher.Terms(
        timeout: context.options.ioTimeout,
        maySplit: context.store.traits.listsFromAnyName && beginsAnywhere != false,
        isTrusted: beginsAnywhere == true,
        budget: ListingBudget(bytesMax: context.options.listingLimit)),
      events: ListingFetcher.Events(
        mayGoOn: { [weak self] in self?.cache.spendPage() ?? false },
        learned: { [weak self] works in self?.cache.beginsAnywhere = works },
        grew: { [weak self] in self?.evictor.evict() },
        ended: { [weak self] fetcher, result in self?.ended(fetcher.listing, result) }))
    let isShutDown = state.withLock { state in
      if !state.isShutDown { state.fetchers[listing.id] = fetcher }
      return state.isShutDown
    }
    if isShutDown { fetcher.cancel(context.shuttingDown) }
    return fetcher
  }

  /// The directory of a listing no longer waits for it.
  @discardableResult private func remove(_ listing: DirectoryListing) -> ListingFetcher? {
    state.withLock { $0.fetchers.removeValue(forKey: listing.id) }
  }

  private func ended(_ listing: DirectoryListing, _ result: Result<Int, StoreError>) {
    remove(listing)
    switch result {
    case .success(let hidden):
      complete(listing, hidden: hidden)
      persistence.saveSometimes()
    case .failure(let error):
      // No caller has requested a listing made ahead: one that does requests it again.
      if !listing.isAhead { _ = context.report(error, during: "list") }
      cache.abandon(listing)
      listing.fail(error)
    }
    evictor.evict(always: true)
  }

  private func complete(_ listing: DirectoryListing, hidden: Int) {
    context.metrics.metadata.hiddenNames.add(hidden)
    if hidden > 0 {
      context.log.info(
        """
        \(context.store.displayName)/\(listing.directory): \(hidden) names are not representable: no path \
        reaches them, a directory has the same name, or their size is invalid (docs/semantics.md)
        """)
    }
    let (replaced, appeared) = cache.complete(listing)
    kernel.invalidate(replaced, in: listing.directory)
    for name in appeared { kernel.invalidate(nil, name, in: listing.directory) }
  }
}
