import Logging
import Metrics
import ObjectStore
import Posix
import Testing

@testable import FileSystem

/// Listings made ahead that their directory stops waiting for: a reader that has one gets all of it, and one that
/// nobody has goes.
@Suite struct AbandonedListingTests {
  /// A cache whose root is listed, and the listing of its directory that was begun ahead.
  private struct Ahead {
    static let directory = ObjectKey("big/")
    let store: KeyStore
    let cache: MetadataCache
    let ended = Lock<Result<Int, StoreError>?>(nil)

    init(_ store: KeyStore) {
      self.store = store
      store.put((0..<50).map { "big/\($0 + 100)" })
      let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
      cache = MetadataCache(
        MountContext(
          store: store, prefix: .root, options: FileSystemOptions(metadataTTL: .seconds(60)),
          metrics: Metrics(), log: log))
    }

    /// One page of it may be fetched before a reader requests it.
    func begin() throws -> (listing: DirectoryListing, fetcher: ListingFetcher) {
      guard case .begun(let root)? = cache.requestListing(of: .root, isOpened: false)?.access
      else { throw StoreError(.badReply, store: "test", detail: "the root is not to be listed") }
      _ = root.add(store.firstPage(of: .root), isLast: true)
      _ = cache.complete(root)
      let listings = cache.listAhead(of: .root, isKept: { _ in false })
      let listing = try #require(listings.first)
      #expect(listings.count == 1 && listing.directory == Self.directory && listing.isAhead)
      let ended = ended
      let fetcher = ListingFetcher(
        listing, store: store,
        terms: ListingFetcher.Terms(
          timeout: .seconds(5), maySplit: false, isTrusted: false,
          budget: ListingBudget(bytesMax: 1 << 30)),
        events: ListingFetcher.Events(
          mayGoOn: { false }, learned: { _ in }, grew: {},
          ended: { fetcher, result in
            ended.withLock { $0 = result }
            if case .failure(let error) = result { fetcher.listing.fail(error) }
          }))
      return (listing, fetcher)
    }
  }

  /// A reader joins one that is paused; before it has the fetch go on, another caller lists the directory anew, and
  /// nobody but the reader has the listing any more.
  @Test func aReaderThatJoinedGetsAllPagesAlthoughTheDirectoryIsListedAnew() throws {
    let ahead = Ahead(KeyStore(pageSize: 10))
    var begun: (listing: DirectoryListing, fetcher: ListingFetcher)? = try ahead.begin()
    begun?.fetcher.start()
    #expect(ahead.store.lists == 1 && begun?.listing.isPaused == true)
    let request = ahead.cache.requestListing(of: Ahead.directory, isOpened: true)
    guard case .joined(let listing, let resume)? = request?.access else {
      Issue.record("not joined")
      return
    }
    let relisted = try #require(ahead.cache.relist(Ahead.directory))
    #expect(relisted.abandoned === listing)
    begun = nil
    let hasPage = Lock(false)
    listing.wait(beyond: listing.count) { hasPage.withLock { $0 = true } }
    resume?()
    #expect(hasPage.withLock { $0 })
    #expect(ahead.store.lists == 5 && listing.isComplete && listing.count == 50)
    listing.unpin()
  }

  /// As above, while the page is in flight at which it would have paused.
  @Test func aReaderThatJoinedBeforeThePauseGetsAllPages() throws {
    let ahead = Ahead(KeyStore(pageSize: 10))
    ahead.store.hold()
    var begun: (listing: DirectoryListing, fetcher: ListingFetcher)? = try ahead.begin()
    begun?.fetcher.start()
    let request = ahead.cache.requestListing(of: Ahead.directory, isOpened: true)
    guard case .joined(let listing, let resume)? = request?.access else {
      Issue.record("not joined")
      return
    }
    _ = ahead.cache.relist(Ahead.directory)
    begun = nil
    #expect(ahead.store.answer() == 1)
    resume?()
    while ahead.store.answer() > 0 {}
    #expect(listing.isComplete && listing.count == 50)
    listing.unpin()
  }

  /// It owns its fetcher while it is paused: neither must outlive the wait for it.
  @Test func whatIsPausedGoesOnceItsDirectoryNoLongerWaits() throws {
    let ahead = Ahead(KeyStore(pageSize: 10))
    var begun: (listing: DirectoryListing, fetcher: ListingFetcher)? = try ahead.begin()
    begun?.fetcher.start()
    weak let listing = begun?.listing
    weak let fetcher = begun?.fetcher
    begun = nil
    #expect(listing?.isPaused == true && fetcher != nil)
    _ = ahead.cache.relist(Ahead.directory)
    #expect(listing == nil && fetcher == nil)
    #expect(ahead.store.lists == 1)
  }

  /// Its directory is listed anew before its first page is there: no page follows, whatever was earned.
  @Test func whatIsAbandonedBeforeItPausesEndsWithItsPage() throws {
    let ahead = Ahead(KeyStore(pageSize: 10))
    ahead.store.hold()
    let (listing, fetcher) = try ahead.begin()
    fetcher.start()
    _ = ahead.cache.relist(Ahead.directory)
    let isFirstPageThere = Lock(false)
    listing.waitForFirstPage { [weak listing] in
      isFirstPageThere.withLock { $0 = (listing?.count ?? 0) > 0 }
    }
    while ahead.store.answer() > 0 {}
    #expect(ahead.store.lists == 1 && isFirstPageThere.withLock { $0 })
    guard case .failure(let error)? = ahead.ended.withLock({ $0 }) else {
      Issue.record("did not end")
      return
    }
    #expect(error.kind == .cancelled)
  }

  /// As above by the lister, which is to have nothing of it any more.
  @Test func whatIsAbandonedBeforeItPausesIsFreed() throws {
    let store = KeyStore(pageSize: 10, listsFromAnyName: false)
    store.put(["a/1"])
    store.put((0..<5000).map { "b/\($0 + 10_000)" })
    let rig = try NamesRig(store)
    _ = rig.list()
    store.hold()
    let folder = rig.open(try #require(rig.find("a")).node)
    let key = ObjectKey("b/")
    weak let listing = rig.files.cache.copy().names.directories[key]?.fetching
    #expect(listing?.isAhead == true)
    // The lister does not hear of it, as if the listing came to it only after this.
    _ = rig.files.cache.relist(key)
    #expect(listing != nil)
    while store.answer() > 0 {}
    #expect(listing == nil)
    folder?.close()
  }
}
