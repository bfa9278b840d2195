/// What every object in use shares: memory, disk, schedule, limits.
import Logging
import Metrics
import ObjectStore
import Posix
import Synchronization
import SystemPackage

final class EngineServices: Sendable {
  let storeIdentity: String
  let configuration: EngineConfiguration
  let pool: BlockPool
  let memory: MemoryTier
  let admission: ReadAdmission
  let writer: DiskWriter?
  let dispatcher: Dispatcher
  let diskReads: DiskReads
  let metrics: Metrics
  let notices: EngineNotices
  let reuse: Lock<ReuseMeter>

  private let objects = Lock<[ObjectVersion: CachedObject]>([:])

  init(
    store: any ObjectStore, configuration: EngineConfiguration, metrics: Metrics, log: Logger
  ) throws(EngineError) {
    storeIdentity = store.identity
    self.configuration = configuration
    self.metrics = metrics
    pool = try BlockPool(bytes: configuration.memoryLimit, gauge: metrics.cache.memoryBytes)
    reuse = Lock(ReuseMeter())
    memory = MemoryTier(
      configuration.eviction, blocks: pool.capacity, reuse: reuse,
      seed: configuration.memorySeed ?? .random(in: 0 ... .max))
    admission = ReadAdmission(poolBlocks: pool.capacity)
    if let root = configuration.cacheFolder {
      let tier = try DiskTier(
        store: store.identity, configuration: configuration, root: root, metrics: metrics.cache,
        log: log)
      writer = try DiskWriter(disk: tier)
    } else {
      writer = nil
    }
    notices = EngineNotices(metrics: metrics.cache, log: log, disk: writer?.disk)
    dispatcher = Dispatcher(store: store, pool: pool, memory: memory, configuration: configuration)
    diskReads = DiskReads()
  }

  /// Nil: memory alone.
  var disk: DiskTier? { writer?.disk }

  // MARK: Objects in use

  /// The object of a version, with one more open. `isUse`: by a reader.
  func open(_ version: ObjectVersion, isUse: Bool = false) -> CachedObject {
    let object = objects.withLock { objects in
      let object = objects[version] ?? CachedObject(version, services: self)
      objects[version] = object
      object.opened(isUse: isUse)
      return object
    }
    object.copyOnDisk.prepare()
    if isUse { disk?.used(object.id) }
    let now = reuse.withLock { reuse in
      if isUse { reuse.opened(object.id.low, bytes: version.size) }
      return reuse.opens
    }
    object.lastUse.store(now, ordering: .relaxed)
    return object
  }

  /// Ends an open. `isUse`: as it was opened.
  func close(_ object: CachedObject, isUse: Bool = false) {
    object.closed(isUse: isUse)
    retireIfIdle(object)
    // What it held may go now for what waits for memory.
    dispatcher.memoryMayBeFree()
  }

  /// Forgets an object that is not in use and has no work in progress. If memory still holds some of it, only its file
  /// is closed, so that the disk tier may evict the file. Call it without a lock held.
  func retireIfIdle(_ object: CachedObject) {
    // Most calls find it in use: ask before taking the lock that all share.
    guard object.isRetirable else { return }
    let retirement = objects.withLock { objects -> CachedObject.Retirement in
      guard objects[object.version] === object else { return .stays }
      let retirement = object.retire()
      if case .isOver = retirement { objects[object.version] = nil }
      return retirement
    }
    switch retirement {
    case .stays, .isOver(wasCounted: false): break
    case .isOver(wasCounted: true): disk?.close(object.id)
    case .rests(let files): withExtendedLifetime(files) { disk?.close(object.id) }
    }
  }

  /// At the end: objects of which memory held something refer to these services, and would keep the pool.
  func forgetAll() {
    let all = objects.withLock { objects in
      defer { objects = [:] }
      return objects
    }
    withExtendedLifetime(all) {}
  }

  func inUse(_ version: ObjectVersion) -> CachedObject? { objects.withLock { $0[version] } }
  var inUse: [CachedObject] { objects.withLock { Array($0.values) } }
  var countInUse: Int { objects.withLock { $0.count } }
}
