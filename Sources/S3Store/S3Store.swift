/// A bucket of S3, or of a store that speaks its protocol.
///
/// Each call becomes one exchange on the transport; what a request and an answer mean is decided in
/// pure values beside this file: `BucketAddress` (where), `S3Listing` (names), `S3FetchProgress`
/// (bytes), `S3Reaction` (errors).
public import Credentials
public import Logging
public import Metrics
public import ObjectStore
public import Posix
public import Transport

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
