// HTTPStore: a web site, or a repository of the Hugging Face hub, as an ObjectStore.
//
// Parts.
//   HTTPStore, HTTPStoreOptions  the store; how it is set up
//   HTTPSite                     what requests to one site share: address, authorization, what responses mean; redirects
//   HTTPIndex, HTMLIndex, NginxRow
//                                a directory's listing as servers give it, JSON or HTML
//   HTTPStore+Listings           what the times of listings are worth
//   HTTPManifest                 a list of the files in place of listings
//   HubAddress, HubTree          hf:// and the hub's own listings
//   HTTPDocumentExchange, HTTPHeadExchange, HTTPRangeExchange, HTTPRangeDelivery
//                                a document whole, the attributes of a file, a range of one version
//   HTTPSpool                    files of servers that ignore ranges, kept on disk while they are read
//   HTTPAuthorization, Netrc     who we are
//
// Flow. As in S3Store: a call becomes an exchange on the transport, and values decide.
//
// Promises. User, password and token go to the site's own origin alone. Whatever a version has of the server's (size,
// Last-Modified, ETag) is compared with every response, and a difference is `.changed`. Nothing is listed that a path
// cannot name.
//
// Callers: StoreFactory of the command line makes it; the engine and the file system call it as an ObjectStore.

import Formats
public import Metrics
public import ObjectStore
public import Posix
import Synchronization
public import Transport

/// A web site as a store: `http(s)://HOST/PATH/`.
///
/// Names come from what the server shows of a folder: nginx's `autoindex_format json` (or Caddy's
/// JSON), an HTML index, or from a manifest that replaces both. Keys are relative to the address.
///
/// **Identity.** JSON gives size and time, so a version is size and Last-Modified; so does nginx's HTML
/// index, with the time in minutes. Other HTML indexes give neither: `head` is asked, and a strong ETag
/// then is the version. A manifest's etag or hash is the version, else its size and time. Whatever the
/// version has of the server's (size, Last-Modified, ETag) is compared with every reply, and a difference
/// is `.changed`. What cannot be seen: a file rewritten to the same length within one second, at a server
/// that is listed by JSON, or within one minute, at one that is listed by nginx's HTML.
public final class HTTPStore: ObjectStore {
  public let displayName: String
  public let identity: String

  let site: HTTPSite
  private let manifest: HTTPManifest?
  /// Of a hub's repository.
  private let tree: HubTree?
  let transport: Transport
  /// Where listings are parsed: the transport's thread has bytes to move.
  let worker = WorkerPool(named: "http", threads: 1)
  private let ignoresRanges = Atomic(false)
  /// Made when a server is seen to ignore ranges.
  private let madeSpool = Lock<HTTPSpool?>(nil)
  private let allowance: SpoolAllowance
  let listedTimes = Lock(ListedTimes.unknown)

  static let manifestAdvice = "give a list of the files with --manifest"
  static let indexAdvice =
    "enable the server's index (nginx: autoindex on; autoindex_format json), or "
    + manifestAdvice

  /// `url` as the user wrote it, perhaps with user and password. With a manifest at an address this
  /// waits for it. `transport` is this store's own: `shutdown` ends it.
  public init(
    url text: String, options: HTTPStoreOptions = HTTPStoreOptions(), transport: Transport,
    metrics: StoreMetrics
  ) throws(StoreError) {
    var site = try Self.makeSite(text, options, metrics)
    site.keysAreTargets = options.keysAreTargets
    var tree: HubTree?
    if let hub = options.hub {
      (site, tree) = try Self.pin(hub, at: site, transport, within: options.manifestTimeout)
    }
    self.site = site
    self.tree = tree
    allowance = options.spool
    self.transport = transport
    displayName = site.displayName
    identity = site.base.text
    manifest = try Self.loadManifest(options, site, transport)
  }

  /// A password or token crosses the network in the clear: no TLS, and another machine.
  public var sendsSecretsInClear: Bool { site.sendsSecretsInClear }

  /// Ranges are taken to work until a server was seen that ignores them. `head` is needed for files whose size a
  /// listing does not have.
  public var traits: StoreTraits {
    StoreTraits(
      supportsRanges: !ignoresRanges.load(ordering: .relaxed),
      listingHasAttributes: manifest?.isExact ?? true)
  }

  public func list(
    _ request: ListRequest, completion: @escaping @Sendable (Result<ListPage, StoreError>) -> Void
  ) {
    if let manifest {
      work(request.folder, completion) {
        .success(manifest.page(of: request.folder, cursor: request.cursor, limit: request.limit))
      }
      return
    }
    if let tree { return list(request, of: tree, completion) }
    let url: HTTPURL
    do throws(StoreError) { url = try site.url(of: request.folder) } catch {
      work(request.folder, completion) { .failure(error) }
      return
    }
    let exchange = HTTPDocumentExchange(
      site: site, url: url, key: request.folder, bytesMax: HTTPIndex.bodyBytesMax,
      failsFast: request.failsFast
    ) { [self] result in
      switch result {
      case .failure(let error): completion(missing(request.folder, error))
      case .success(let document):
        let isTaken = worker.submit { [self] in
          page(of: request.folder, document, deadline: request.deadline, completion)
        }
        if !isTaken {
          completion(.failure(site.failure(.cancelled, request.folder, "shutting down")))
        }
      }
    }
    transport.start(exchange, deadline: request.deadline)
  }

  /// What a hub says of a file stands in the listing of its folder.
  private func find(
    _ key: ObjectKey, cursor: String?, deadline: Instant,
    completion: @escaping @Sendable (Result<ObjectAttributes, StoreError>) -> Void
  ) {
    let end = key.bytes.lastIndex(of: UInt8(ascii: "/")).map { $0 + 1 } ?? 0
    let folder = ObjectKey(bytes: Array(key.bytes[..<end]))
    list(ListRequest(folder: folder, cursor: cursor, deadline: deadline)) { [self] result in
      switch result {
      case .failure(let error): completion(.failure(error))
      case .success(let page):
        if let found = page.objects.first(where: { $0.key == key }) {
          completion(.success(found))
        } else if let next = page.next {
          find(key, cursor: next, deadline: deadline, completion: completion)
        } else {
          completion(.failure(site.failure(.notFound, key, "no such file")))
        }
      }
    }
  }

  private func list(
    _ request: ListRequest, of tree: HubTree,
    _ completion: @escaping @Sendable (Result<ListPage, StoreError>) -> Void
  ) {
    let next = request.cursor.flatMap { try? tree.listing.resolve($0) }
    // The hub's own addresses alone: a page that leads elsewhere would be given the token's tree.
    let url = next?.origin == tree.listing.origin ? next! : tree.url(of: request.folder)
    let exchange = HTTPDocumentExchange(
      site: site, url: url, key: request.folder, bytesMax: HTTPIndex.bodyBytesMax,
      failsFast: request.failsFast
    ) { [self] result in
      switch result {
      case .failure(let error): completion(missing(request.folder, error))
      case .success(let document):
        work(request.folder, completion) { [self] in
          do throws(HubTree.Malformed) {
            var page = try tree.page(document.body.bytes, of: request.folder)
            page.next = HubTree.next(document.link)
            if let next = page.next, next == request.cursor {
              throw HubTree.Malformed(reason: "the redirects are a loop")
            }
            return .success(page)
          } catch {
            let detail = "the hub's listing cannot be read: \(error.reason)"
            return .failure(site.failure(.badReply, request.folder, detail))
          }
        }
      }
    }
    transport.start(exchange, deadline: request.deadline)
  }

  public func head(
    _ key: ObjectKey, deadline: Instant,
    completion: @escaping @Sendable (Result<ObjectAttributes, StoreError>) -> Void
  ) {
    var promised: ObjectAttributes?
    if let manifest {
      promised = manifest.attributes(of: key)
      if promised?.size != nil || promised == nil {
        let answer = promised.map { Result<_, StoreError>.success($0) }
        work(key, completion) { [site] in
          answer ?? .failure(site.failure(.notFound, key, "it is not in the manifest"))
        }
        return
      }
    }
    if tree != nil {
      return find(key, cursor: nil, deadline: deadline, completion: completion)
    }
    let exchange = HTTPHeadExchange(site: site, key: key, onRangesIgnored: rangesIgnored) {
      [promised, self] result in
      completion(result.map { asListed(Self.merge($0, promised)) })
    }
    transport.start(exchange, deadline: deadline)
  }

  @discardableResult
  public func fetch(_ request: FetchRequest, into sink: any FetchSink) -> any FetchTicket {
    let isWhole = request.range == 0..<request.version.size
    if ignoresRanges.load(ordering: .relaxed), !isWhole {
      return spool.fetch(request, into: sink)
    }
    return transfer(request, into: sink)
  }

  private func transfer(
    _ request: FetchRequest, into sink: any FetchSink
  ) -> any FetchTicket {
    // What a hub names by its commit does not change, and may come from servers with ETags of their own.
    let learnt = tree == nil ? request.learnt : LearntETag()
    let delivery = HTTPRangeDelivery(
      version: request.version, range: request.range,
      comparesTime: manifest == nil && tree == nil && !site.keysAreTargets,
      timesAreMinutes: listedTimes.withLock { $0.canBeMinutes }, learnt: learnt.value)
    let exchange = HTTPRangeExchange(
      site: site, delivery: delivery, learnt: learnt, sink: sink, onRangesIgnored: rangesIgnored)
    return transport.start(exchange, deadline: request.deadline)
  }

  public func shutdown() {
    madeSpool.withLock { $0 }?.shutdown()
    transport.shutdown()
    worker.shutdown()
  }

  // MARK: Listings

  /// A folder that is not there is empty, as it is in an object store; the root must be there.
  private func missing(
    _ folder: ObjectKey, _ error: StoreError
  ) -> Result<ListPage, StoreError> {
    var error = error
    if error.kind == .notFound {
      guard folder == .root else {
        return .success(ListPage())
      }
      error.kind = .noSuchStore
      error.advice = "check the path in the URL"
    }
    return .failure(error)
  }

  func work<Value>(
    _ key: ObjectKey, _ completion: @escaping @Sendable (Result<Value, StoreError>) -> Void,
    _ body: @escaping @Sendable () -> Result<Value, StoreError>
  ) {
    if !worker.submit({ completion(body()) }) {
      completion(.failure(site.failure(.cancelled, key, "shutting down")))
    }
  }

  private var spool: HTTPSpool {
    madeSpool.withLock { made in
      if let made { return made }
      let spool = HTTPSpool(allowance, name: displayName) {
        [unowned self] version, sink in
        // It ends by standing still or by a refusal, and not by its size.
        transfer(
          FetchRequest(
            version: version, range: 0..<version.size, deadline: .now + .seconds(86_400)),
          into: sink)
      }
      made = spool
      return spool
    }
  }

  var rangesIgnored: @Sendable () -> Void {
    { [weak self] in self?.ignoresRanges.store(true, ordering: .relaxed) }
  }

  /// What the manifest says wins over what the server says; it lacked the size.
  private static func merge(
    _ asked: ObjectAttributes, _ promised: ObjectAttributes?
  ) -> ObjectAttributes {
    guard let promised, !asked.isOversized else { return asked }
    return ObjectAttributes(
      key: promised.key, size: asked.size, modified: promised.modified ?? asked.modified,
      etag: promised.etag.isEmpty ? asked.etag : promised.etag, isArchived: promised.isArchived)
  }
}
