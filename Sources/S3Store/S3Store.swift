// S3Store: a bucket of S3, or of a store that speaks its protocol, as an ObjectStore.
//
// Parts.
//   S3Store, S3Options           the store, and what the user says of it
//   BucketAddress, BucketARN, BucketName
//                                where requests go: host, path, region; which names can be buckets
//   S3Site                       what the requests of one bucket share: address, signature, what answers have taught
//   S3ListExchange, S3Listing, S3VersionListing, ListCursor
//                                a page of a listing, of the bucket now or as it was (--at), and where it goes on
//   S3HeadExchange               the attributes of one object
//   S3FetchExchange, S3FetchProgress, StoreChecksum+Headers
//                                a range of one version, and the checksum of a whole one
//   S3Failure, S3Reaction        what an error response says, and what to do about it: one table
//
// Flow. Each call becomes one exchange, which the transport asks for requests and gives heads and bytes. What a request
// and an answer mean is decided in values (BucketAddress, S3Listing, S3FetchProgress, S3Reaction). Pages of listings are
// parsed on a thread of the store's, since the transport's has bytes to move.
//
// Promises. Bytes reach the sink only if ETag and size are those of the version asked for; whole objects up to 1 MiB only
// if their checksum holds. A name that is not in the directory asked for is an error. Keys are bytes.
//
// Callers: StoreFactory of the command line makes it; the engine and the file system call it as an ObjectStore.

public import Credentials
public import Logging
public import Metrics
public import ObjectStore
public import Posix
public import Transport

/// A bucket of S3, or of a store that speaks its protocol.
public final class S3Store: ObjectStore {
  public let displayName: String
  public let identity: String
  public let traits: StoreTraits

  private let options: S3Options
  private let site: S3Site
  private let transport: Transport
  private let metrics: StoreMetrics
  private let worker = WorkerPool(named: "s3-list", threads: 1)

  /// Nothing is asked of the bucket yet; `.invalidSource` for a name or URL that cannot be right. The
  /// store owns the transport: its `shutdown` ends it.
  public init(
    options: S3Options, credentials: any CredentialsProvider, transport: Transport,
    metrics: StoreMetrics,
    log: Logger = Logger(label: "s3", factory: { _ in SwiftLogNoOpLogHandler() })
  ) throws(StoreError) {
    self.options = options
    self.transport = transport
    self.metrics = metrics
    site = try S3Site(options: options, credentials: credentials, log: log)
    // Directory buckets of S3 Express list in no order.
    traits = StoreTraits(
      listsFromAnyName: !options.bucket.hasSuffix("--x-s3") && options.at == nil)
    displayName = site.displayName
    identity = site.identity
  }

  public func list(
    _ request: ListRequest, completion: @escaping @Sendable (Result<ListPage, StoreError>) -> Void
  ) {
    list(request, tries: Self.mostListings, completion)
  }

  /// How often a page is asked for whose text cannot be read: the next server may do better.
  private static let mostListings = 4

  private func list(
    _ request: ListRequest, tries: Int,
    _ completion: @escaping @Sendable (Result<ListPage, StoreError>) -> Void
  ) {
    let exchange = S3ListExchange(
      request, options: options, site: site, metrics: metrics,
      work: { [worker] in worker.submit($0) },
      completion: { [weak self] result in
        if case .failure(let error) = result, error.kind == .badReply, tries > 1, let self {
          metrics.retries.add()
          return list(request, tries: tries - 1, completion)
        }
        completion(result)
      })
    transport.start(exchange, deadline: request.deadline)
  }

  public func head(
    _ key: ObjectKey, deadline: Instant,
    completion: @escaping @Sendable (Result<ObjectAttributes, StoreError>) -> Void
  ) {
    if options.at != nil {
      return headOfVersion(key, cursor: nil, deadline: deadline, completion: completion)
    }
    let exchange = S3HeadExchange(key, site: site, metrics: metrics, completion: completion)
    transport.start(exchange, deadline: deadline)
  }

  /// The object as it was: what there is of it is known from the listing of its versions alone.
  private func headOfVersion(
    _ key: ObjectKey, cursor: String?, deadline: Instant,
    completion: @escaping @Sendable (Result<ObjectAttributes, StoreError>) -> Void
  ) {
    // It ends by the deadline, which is that of all pages together.
    let request = ListRequest(folder: .root, cursor: cursor, deadline: deadline)
    let exchange = S3ListExchange(
      request, exactKey: key, options: options, site: site, metrics: metrics,
      work: { [worker] in worker.submit($0) },
      completion: { [weak self] result in
        switch result {
        case .failure(let error): completion(.failure(error))
        case .success(let page):
          if let found = page.objects.first { return completion(.success(found)) }
          if let next = page.next, let self {
            return headOfVersion(key, cursor: next, deadline: deadline, completion: completion)
          }
          let error = StoreError(
            .notFound, store: self?.displayName ?? "", key: key,
            detail: "no such object at that time")
          completion(.failure(error))
        }
      })
    transport.start(exchange, deadline: deadline)
  }

  @discardableResult
  public func fetch(_ request: FetchRequest, into sink: any FetchSink) -> any FetchTicket {
    let exchange = S3FetchExchange(
      request, site: site, metrics: metrics, sink: sink, verifiesETag: options.verifiesETag)
    return transport.start(exchange, deadline: request.deadline)
  }

  public func shutdown() {
    transport.shutdown()
    site.endRenewals()
    worker.shutdown()
  }
}
