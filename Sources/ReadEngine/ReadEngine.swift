/// Bytes: what is open, what is in memory or on disk, what to fetch next, what to evict.
///
/// The file system opens versions here, the front end reads them, Prefetch has them fetched before they are read.
/// Nothing here waits for the network on the caller's thread, and a read does not wait for a cold disk on it either.
///
/// The parts, a folder each:
/// - Objects: `CachedObject`, one version in use, and its `ObjectStateMachine`; reads that are answered at once
///   (`ImmediateRead`) or parked (`ParkedReads`).
/// - Fetch: `ObjectFetch`, a range on its way; `Dispatcher`, which sends them by `FetchSchedule`; `ReadAdmission`,
///   which reads may hold memory; `PrefetchRun`.
/// - ReadAhead: `StreamTracker` finds sequences, `ReadPlanner` and `RequestSizes` say what to request.
/// - Memory: `BlockPool`, `MemoryTier` and what it evicts (`HeldPieces`).
/// - Disk: `DiskTier` and its parts: `CacheFolder`, `CacheFiles` (what is there, by `CacheIndex`), `SpaceBudget` and
///   `Evictor` (what fits, what goes for it); `CacheFile` and `ObjectCopy`, the copy of one object; `PresenceMap`, what
///   of it is there; `DiskWriter`.
///
/// Promises: memory stays within the pool, disk within its limit; a read ends within the I/O timeout; a block is on disk
/// before it is called so; a reply has bytes of one version.
public import Logging
public import Metrics
public import ObjectStore
public import Posix
import SystemPackage

public final class ReadEngine: Sendable {
  let services: EngineServices
  private let housekeeper: Housekeeper

  public init(
    store: any ObjectStore, configuration: EngineConfiguration, metrics: Metrics, log: Logger
  ) throws(EngineError) {
    services = try EngineServices(
      store: store, configuration: configuration, metrics: metrics, log: log)
    housekeeper = try Housekeeper(services: services)
  }

  /// Opens one version for reading. Cheap: the store is not asked. Every open is closed by `close`.
  ///
  /// The caller has found that the path has this version: that an earlier reader found it changed or missing is
  /// forgotten.
  public func open(_ version: ObjectVersion) -> OpenObject {
    let object = services.open(version, isUse: true)
    object.confirm()
    services.metrics.reads.filesOpened.add()
    if object.isWholeOnDisk { services.metrics.reads.filesOpenedFromDisk.add() }
    return OpenObject(object, isUse: true)
  }

  /// Where the bytes of a version are now; nothing is fetched for it.
  public func residence(of version: ObjectVersion) -> Residence {
    OpenObject(services.open(version)).residence
  }

  /// Called for an object that the store no longer has in this version, once for each version,
  /// on a thread of the engine's, no lock held.
  public func onChanged(_ handler: @escaping @Sendable (ObjectVersion) -> Void) {
    services.notices.onChanged(handler)
  }

  /// Called when the disk tier has no file left to evict, on a thread of the engine, no lock
  /// held: opens that are not needed are to be closed.
  public func onDiskPressure(_ handler: @escaping @Sendable () -> Void) {
    services.disk?.onPressure(handler)
  }

  /// The cache folder of the store, which this engine has for itself; nil without a disk tier.
  public var folder: PrivateFolder? { services.disk?.folder.files }

  /// Bytes that the cache on disk can really reach: its limit, or what is there and what the free-space floor leaves;
  /// nil without one.
  public var reachableCache: UInt64? { services.disk?.reachable }

  /// Waits until the files that earlier mounts left in the cache are all known: what says what is there, or drops it,
  /// is wrong before. False: they are not by `deadline`.
  public func waitUntilCacheIsCounted(by deadline: Instant) -> Bool {
    services.disk?.waitUntilCounted(by: deadline) ?? true
  }

  /// The state of the tiers now, for stats.
  public func usage() -> EngineUsage {
    var usage = EngineUsage()
    usage.memoryBytes = Int(services.metrics.cache.memoryBytes.current)
    usage.memoryLimit = services.pool.capacity * Geometry.pieceSize
    usage.diskBytes = services.disk?.usedBytes ?? 0
    usage.diskLimit = services.disk?.limit ?? 0
    usage.diskFiles = services.disk?.fileCount ?? 0
    usage.cacheDirectory = services.disk?.folder.path ?? ""
    usage.objectsInUse = services.countInUse
    usage.parkedReads = Int(services.metrics.reads.parked.current)
    usage.fetchesInFlight = services.dispatcher.inFlight
    usage.network = services.dispatcher.report
    let reuse = services.reuse.withLock { $0 }
    usage.epoch = reuse.epoch
    usage.epochFiles = reuse.workingSet.files
    usage.epochBytes = reuse.workingSet.bytes
    (usage.estimatedHitRatio, usage.estimatedHitRatioAtDoubleSize) = foundShares(reuse)
    usage.eviction = services.configuration.eviction
    usage.prefetchInFlight = services.dispatcher.fill.limit
    return usage
  }

  private func foundShares(_ reuse: ReuseMeter) -> (Double?, Double?) {
    let bytes = reuse.workingSet.bytes
    guard reuse.epoch > 1, bytes > 0 else { return (nil, nil) }
    let configuration = services.configuration
    let cache = services.disk?.reachable ?? UInt64(configuration.memoryLimit)
    let share = Double(cache) / Double(bytes)
    return (
      configuration.eviction.foundShare(ofCache: share),
      configuration.eviction.foundShare(ofCache: 2 * share)
    )
  }

  /// Ends every parked read (EIO), finishes what is being written, syncs the cache, stops threads.
  /// The store still works and is shut down afterwards.
  public func shutdown() {
    services.dispatcher.stop()
    housekeeper.stop()
    for object in services.inUse { object.failAllWaiters() }
    services.diskReads.workers.shutdown()
    services.writer?.shutdown()
    services.memory.removeAll()
    services.disk?.shutdown()
    services.forgetAll()
  }
}

/// Why the engine could not start. The message is one line for the user.
public struct EngineError: Error, Sendable, CustomStringConvertible {
  public var description: String
  public init(_ description: String) { self.description = description }

  static func noThread(_ purpose: String, _ reason: Errno) -> EngineError {
    EngineError("cannot start the thread \(purpose): \(reason); \(reason.limitAdvice)")
  }
}

/// The state of the tiers, bytes unless the name says otherwise.
public struct EngineUsage: Sendable, Codable {
  public var memoryBytes: Int = 0
  public var memoryLimit: Int = 0
  public var diskBytes: UInt64 = 0
  /// `UInt64.max`: bounded by the free-space floor alone.
  public var diskLimit: UInt64 = 0
  public var diskFiles: Int = 0
  /// Empty without a disk tier.
  public var cacheDirectory: String = ""
  public var objectsInUse: Int = 0
  public var parkedReads: Int = 0
  public var fetchesInFlight: Int = 0
  public var network = LinkReport()
  /// Passes over the data begun, 0 before the first open.
  public var epoch: Int = 0
  /// Files and bytes of one, estimated.
  public var epochFiles: Int = 0
  public var epochBytes: UInt64 = 0
  public var eviction = EvictionPolicy.epoch
  /// Hit ratio of a shuffled epoch with a cache of this size, and with one twice as large; nil until the first
  /// epoch completes.
  public var estimatedHitRatio: Double?
  public var estimatedHitRatioAtDoubleSize: Double?
  /// Background prefetch requests that may be in flight, so that no reader waits longer because of them.
  public var prefetchInFlight: Int = 0
  public init() {}
}

/// The measured network to the store, and what a sequential stream uses of it.
public struct LinkReport: Sendable, Codable {
  /// Time to first byte, a low percentile, seconds; nil until something was fetched.
  public var ttfbSeconds: Double?
  /// Of one connection, bytes a second; nil until enough was fetched to tell.
  public var bytesPerSecond: Double?
  public var connections: Int = 0
  /// Of one request, and of what is fetched ahead of a reader, bytes.
  public var rangeBytes: Int = 0
  public var windowBytes: Int = 0
  public init() {}
}
