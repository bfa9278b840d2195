/// What every store speaks: list, head, and fetch of a range into the caller's memory.
///
/// The engine and the file system see only this; which store is mounted is known to the command
/// line alone. Calls return at once and complete on a thread of the store's own; a completion must
/// not block. Every call ends by its deadline, in a result or an error; retries happen inside.
public import Posix

public protocol ObjectStore: AnyObject, Sendable {
  /// The store and prefix as the user wrote them, for messages: "s3://bucket/prefix".
  var displayName: String { get }

  /// What the cache of this store is filed under. Two mounts with one identity share their cached
  /// objects, so it names endpoint and bucket, and not the prefix: a key is absolute in it.
  var identity: String { get }

  var traits: StoreTraits { get }

  /// One page of the names directly under `request.folder`.
  func list(
    _ request: ListRequest, completion: @escaping @Sendable (Result<ListPage, StoreError>) -> Void)

  /// Attributes of one object. `.notFound` when there is none; never a folder.
  func head(
    _ key: ObjectKey, deadline: Instant,
    completion: @escaping @Sendable (Result<ObjectAttributes, StoreError>) -> Void)

  /// Bytes of one version of an object, delivered in order to `sink`.
  @discardableResult
  func fetch(_ request: FetchRequest, into sink: any FetchSink) -> any FetchTicket

  /// Ends the store's threads after every pending call was completed with `.cancelled`.
  func shutdown()
}

/// What differs between stores and matters to those who plan requests.
public struct StoreTraits: Sendable {
  /// The range a long sequential read is fetched in, bytes.
  public var preferredRange: Int
  /// Requests in flight that the store takes well.
  public var maxConcurrentFetches: Int
  /// Ranges can be fetched. If not, every fetch is of the whole object.
  public var supportsRanges: Bool
  /// A listing gives every attribute that `head` would.
  public var listingHasAttributes: Bool
  /// A listing can begin at any name (`ListRequest.after`), so that parts of one folder can be listed
  /// side by side.
  public var listsFromAnyName: Bool

  public init(
    preferredRange: Int = 8 << 20, maxConcurrentFetches: Int = 96, supportsRanges: Bool = true,
    listingHasAttributes: Bool = true, listsFromAnyName: Bool = false
  ) {
    self.preferredRange = preferredRange
    self.maxConcurrentFetches = maxConcurrentFetches
    self.supportsRanges = supportsRanges
    self.listingHasAttributes = listingHasAttributes
    self.listsFromAnyName = listsFromAnyName
  }
}

public struct ListRequest: Sendable {
  /// Empty for the root of the mount, else a key that ends in "/". Absolute, prefix included.
  public var folder: ObjectKey
  /// `ListPage.next` of the page before; `nil` for the first.
  public var cursor: String?
  /// Only names after this key, where the store can (`StoreTraits.listsFromAnyName`) and there is no
  /// cursor; absolute, within `folder`.
  public var after: ObjectKey?
  /// Entries wanted at most (a store may give more); 1 to find out whether the folder exists.
  public var limit: Int
  public var deadline: Instant
  /// A user waits at a terminal (mount, doctor): an unknown host or a refused connection is reported
  /// immediately instead of being retried until the deadline.
  public var failsFast: Bool

  public init(
    folder: ObjectKey, cursor: String? = nil, after: ObjectKey? = nil, limit: Int = 1000,
    deadline: Instant, failsFast: Bool = false
  ) {
    self.folder = folder
    self.cursor = cursor
    self.after = after
    self.limit = limit
    self.deadline = deadline
    self.failsFast = failsFast
  }
}

public struct FetchRequest: Sendable {
  public var version: ObjectVersion
  /// Byte positions in the object; never empty, never past its size.
  public var range: Range<UInt64>
  public var deadline: Instant
  /// What earlier fetches of the version have learnt of it, shared by them all.
  public var learnt: LearntETag

  public init(
    version: ObjectVersion, range: Range<UInt64>, deadline: Instant,
    learnt: LearntETag = LearntETag()
  ) {
    self.version = version
    self.range = range
    self.deadline = deadline
    self.learnt = learnt
  }
}

/// A fetch that is under way.
public protocol FetchTicket: AnyObject, Sendable {
  /// Gives the fetch up: `finish(.failure(.cancelled))` follows, unless it had ended already.
  func cancel()
}
