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
  let disk: DiskTier?
  let writer: DiskWriter?
  let dispatcher: Dispatcher
  let diskWorkers: WorkerPool
  let files = FileReader()
  let scratch = ScratchBuffers()
  let metrics: Metrics
  let log: Logger
  let reuse: Lock<ReuseMeter>

  private let objects = Lock<[ObjectVersion: CachedObject]>([:])
  private let changeHandler = Lock<Callback<ObjectVersion, Void>?>(nil)
  private let lastDiskTrouble = Lock(Instant(nanoseconds: 0))

  /// Threads that may wait for a cold disk: enough to keep its queue busy.
  private static let diskThreads = 4

  init(
    store: any ObjectStore, configuration: EngineConfiguration, metrics: Metrics, log: Logger
  ) throws(EngineError) {
    storeIdentity = store.identity
    self.configuration = configuration
    self.metrics = metrics
    self.log = log
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
      disk = tier
      writer = try DiskWriter(disk: tier)
    } else {
      disk = nil
      writer = nil
    }
    dispatcher = Dispatcher(store: store, pool: pool, memory: memory, configuration: configuration)
    diskWorkers = WorkerPool(named: "disk", threads: Self.diskThreads, queueLimit: 4096)
  }

  // MARK: Objects in use

  /// The object of a version, with one more open. `isUse`: by a reader.
  func open(_ version: ObjectVersion, isUse: Bool = false) -> CachedObject {
    let object = objects.withLock { objects in
      let object = objects[version] ?? CachedObject(version, services: self)
      objects[version] = object
      object.state.withLock { state in
        if state.opens == 0 { state.forgetRefusal() }
        state.opens += 1
        if isUse { state.readers += 1 }
      }
      return object
    }
    object.prepare()
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
    object.state.withLock { state in
      state.opens -= 1
      if isUse { state.readers -= 1 }
    }
    retireIfIdle(object)
    // What it held may go now for what waits for memory.
    dispatcher.memoryMayBeFree()
  }

  /// Forgets an object that is not in use and has no work in progress. If memory still holds some of it, only its file
  /// is closed, so that the disk tier may evict the file. Call it without a lock held.
  func retireIfIdle(_ object: CachedObject) {
    // Most calls find it in use: ask before taking the lock that all share.
    guard object.state.withLock({ $0.isIdle || $0.isAtRest && $0.isCounted }) else { return }
    // The last reference to it goes without a lock held: to close an unlinked file takes its time.
    var files: [CacheFile] = []
    let wasCounted: Bool = objects.withLock { objects in
      guard objects[object.version] === object else { return false }
      return object.state.withLock { state in
        if !state.isIdle {
          guard state.isAtRest, state.isCounted else { return false }
          files = object.closeFile(&state)
          return true
        }
        objects[object.version] = nil
        defer { state.isCounted = false }
        return state.isCounted
      }
    }
    withExtendedLifetime(files) { if wasCounted { disk?.close(object.id) } }
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

  // MARK: News

  func setChangeHandler(_ handler: @escaping @Sendable (ObjectVersion) -> Void) {
    changeHandler.withLock { $0 = Callback(handler) }
  }

  func changed(_ version: ObjectVersion) {
    log.notice(
      "\(version.key) was changed or removed in the store; its open files are stale (ESTALE)")
    changeHandler.withLock { $0 }?(version)
  }

  /// Trouble with the cache folder is a miss and a counter; one line a minute says so.
  func diskTrouble(_ what: String, _ errno: Errno) {
    metrics.cache.diskErrors.add()
    // What is kept open for later use goes, so that the next opens find a descriptor.
    if errno == .tooManyOpenFiles { disk?.letGo() }
    let isDue = lastDiskTrouble.withLock { last in
      guard Instant.now - last > .seconds(60) else { return false }
      last = .now
      return true
    }
    if isDue { log.warning("\(what): \(errno); reading from the store instead") }
  }
}
