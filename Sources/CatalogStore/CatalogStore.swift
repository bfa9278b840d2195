// CatalogStore: a store whose names come from a list in place of listings: a snapshot or a manifest.
//
// Parts.
//   CatalogStore                 the store, over the one that has the bytes
//   Catalog, CatalogBuilder      the tree in memory, packed
//   ManifestReader               a catalog of a list that the user wrote
//   Snapshot                     a catalog in a file of the cache directory, with a checksum
//   TreeLister                   lists everything below a directory, for snapshots
//   CatalogDifference            what two catalogs differ in
//
// Flow. Listings and heads are answered from memory on a thread of the store's; a fetch goes to the store below, under
// the key that the catalog names, or to the site of a URL.
//
// Promises. It requests no listing, and shows nothing that the list has not. It knows no kind of store: sites are made
// by a closure of the caller's.
//
// Callers: StoreFactory and `millrace snapshot`.

import Formats
public import ObjectStore
public import Posix
import Synchronization

/// A store whose names come from a catalog: listings and heads are answered from memory, and only
/// bytes are asked for, each object in the version that the catalog names.
public final class CatalogStore: ObjectStore {
  /// Makes a store for the site of a URL: its origin, "https://host:port/". Keys of it are raw targets.
  public typealias SiteFactory = @Sendable (_ origin: String) throws(StoreError) -> any ObjectStore

  /// Sites that objects of one catalog may lie on.
  private static let siteLimit = 64

  public let displayName: String
  public let identity: String
  public let catalog: Catalog
  private let base: any ObjectStore
  private let makeSite: SiteFactory
  private let sites = Lock<[String: any ObjectStore]>([:])
  private let isShutDown = Atomic(false)
  private let worker = WorkerPool(named: "catalog", threads: 1)

  /// The store owns `base`: its `shutdown` ends it.
  public init(
    _ catalog: Catalog, over base: any ObjectStore, name: String, makeSite: @escaping SiteFactory
  ) {
    self.catalog = catalog
    self.base = base
    self.makeSite = makeSite
    displayName = base.displayName
    // Two manifests may give one path to different objects: they share no cached bytes. Without other
    // keys the objects are the store's own, and so is its cache. "verified": caches of before kept
    // objects whose checksum had failed.
    identity = catalog.hasTargets ? "\(base.identity) by \(name), verified" : base.identity
  }

  public var traits: StoreTraits {
    var traits = base.traits
    traits.listingHasAttributes = true
    traits.listsFromAnyName = false
    return traits
  }

  public func list(
    _ request: ListRequest, completion: @escaping @Sendable (Result<ListPage, StoreError>) -> Void
  ) {
    answer(completion) { [catalog] in
      .success(
        catalog.page(
          of: request.folder, cursor: request.cursor, limit: max(request.limit, 1)))
    }
  }

  public func head(
    _ key: ObjectKey, deadline: Instant,
    completion: @escaping @Sendable (Result<ObjectAttributes, StoreError>) -> Void
  ) {
    answer(completion) { [catalog, displayName] in
      catalog.attributes(of: key).map { .success($0) }
        ?? .failure(
          StoreError(
            .notFound, store: displayName, key: key, detail: "the catalog has no such name"))
    }
  }

  /// On a thread of this store's: the caller may hold a lock that the completion takes.
  private func answer<Value: Sendable>(
    _ completion: @escaping @Sendable (Result<Value, StoreError>) -> Void,
    _ body: @escaping @Sendable () -> Result<Value, StoreError>
  ) {
    let isTaken = worker.submit { completion(body()) }
    if !isTaken {
      completion(.failure(StoreError(.cancelled, store: displayName, detail: "shutting down")))
    }
  }

  @discardableResult
  public func fetch(_ request: FetchRequest, into sink: any FetchSink) -> any FetchTicket {
    guard let target = catalog.target(of: request.version.key) else {
      return base.fetch(request, into: sink)
    }
    var moved = request
    let store: any ObjectStore
    switch target {
    case .key(let key):
      moved.version.key = key
      store = base
    case .url(let url):
      do throws(StoreError) {
        let (site, key) = try site(of: url)
        moved.version.key = key
        store = site
      } catch {
        let error = Self.named(error, request.version.key)
        _ = worker.submit { sink.finish(.failure(error)) }
        return NoTicket()
      }
    }
    // Errors name the object as the mount does: a URL may carry a signature.
    let key = request.version.key
    return store.fetch(moved, into: sink.mappingErrors { Self.named($0, key) })
  }

  private func site(of url: String) throws(StoreError) -> (any ObjectStore, ObjectKey) {
    // The reader has seen that it is an address.
    let (start, rest) = HTTPURL.split(url) ?? ("", url[...])
    let origin = String(start) + "/"
    let key = ObjectKey(String(rest.first == "/" ? rest.dropFirst() : rest))
    if let known = sites.withLock({ $0[origin] }) { return (known, key) }
    let made = try makeSite(origin)
    let kept = sites.withLock { sites -> (any ObjectStore)? in
      if let known = sites[origin] { return known }
      guard sites.count < Self.siteLimit, !isShutDown.load(ordering: .relaxed) else { return nil }
      sites[origin] = made
      return made
    }
    guard let kept else {
      made.shutdown()
      throw StoreError(
        .unsupported, store: displayName,
        detail: "the manifest's objects are on more than \(Self.siteLimit) sites",
        advice: "mount it in parts")
    }
    if kept !== made { made.shutdown() }
    return (kept, key)
  }

  private static func named(_ error: StoreError, _ key: ObjectKey) -> StoreError {
    var error = error
    error.key = key
    return error
  }

  public func shutdown() {
    isShutDown.store(true, ordering: .relaxed)
    base.shutdown()
    for site in sites.withLock({ Array($0.values) }) { site.shutdown() }
    worker.shutdown()
  }

  private final class NoTicket: FetchTicket {
    func cancel() {}
  }
}
