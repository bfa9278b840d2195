import FileSystem
import Logging
import Metrics
import Posix
import Prefetch
import ReadEngine

/// The modules of a mount between its store and its front end: made from the bottom up, ended from the top down.
struct MountModules {
  let metrics: Metrics
  let configuration: EngineConfiguration
  let engine: ReadEngine
  let fileSystem: FileSystem
  let prefetcher: Prefetcher
  private let metadataLimit: Int

  /// Only the engine may throw: what was begun need not be ended here.
  init(
    _ settings: Settings, of mounted: StoreFactory.Mounted, at place: String, cache: String?,
    metrics: Metrics, log: Logger
  ) throws {
    self.metrics = metrics
    metadataLimit = settings.limits.metadata
    var configuration = Self.engineConfiguration(settings, cache)
    configuration.spool = mounted.spool
    self.configuration = configuration
    engine = try ReadEngine(
      store: mounted.store, configuration: configuration, metrics: metrics, log: log)
    // Listings with owners and modes are others than those without.
    let file = mounted.rootRights == nil ? "listings" : "listings-with-rights"
    let listings =
      mounted.frozenBy == nil ? engine.folder.map { ListingsFile(folder: $0, name: file) } : nil
    var names = FileSystemOptions(
      metadataTTL: mounted.frozenBy == nil ? settings.limits.metadataTTL : TimeText.forever,
      metadataLimit: settings.limits.metadata, ioTimeout: settings.limits.ioTimeout,
      listingsFile: listings, frozenBy: mounted.frozenBy)
    names.rootRights = mounted.rootRights
    fileSystem = FileSystem(
      store: mounted.store, prefix: mounted.prefix, engine: engine, options: names,
      metrics: metrics, log: log)
    prefetcher = Prefetcher(
      fileSystem: fileSystem, engine: engine, mountPoint: place,
      options: Self.prefetchOptions(settings, configuration), metrics: metrics, log: log)
  }

  func shutdown() {
    prefetcher.shutdown()
    fileSystem.shutdown()
    engine.shutdown()
  }

  func reports(of source: String, at place: String, socket: String) -> MountReports {
    MountReports(
      MountReports.Facts(
        source: source, mountPoint: place, socket: socket, configuration: configuration,
        metadataLimit: metadataLimit),
      metrics, engine, fileSystem, prefetcher)
  }

  private static func engineConfiguration(
    _ settings: Settings, _ cache: String?
  ) -> EngineConfiguration {
    let disk = cache.flatMap { Machine.disk(of: $0) } ?? Machine.Disk(size: 0, free: 0)
    return EngineConfiguration(
      memoryLimit: settings.limits.memory, cacheFolder: cache,
      cacheLimit: settings.cache.size.resolved(of: disk.size), eviction: settings.cache.eviction,
      freeSpaceFloor: settings.cache.minFree.resolved(of: disk.size),
      ioTimeout: settings.limits.ioTimeout)
  }

  private static func prefetchOptions(
    _ settings: Settings, _ configuration: EngineConfiguration
  ) -> PrefetchOptions {
    var options = PrefetchOptions()
    options.fill = settings.prefetch.policy
    if let budget = settings.prefetch.budget { options.fillMultiple = budget }
    // What is fetched ahead must not push out what was fetched ahead.
    let room =
      configuration.cacheFolder == nil
      ? UInt64(configuration.memoryLimit) / 4 : configuration.cacheLimit / 4
    options.orderWindow = settings.prefetch.window ?? min(1 << 30, room)
    options.windowInMemory = UInt64(configuration.memoryLimit) / 4
    options.orderMemory = settings.limits.metadata
    return options
  }
}
