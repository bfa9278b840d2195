import Control
import FileSystem
import FuseFrontEnd
import Glibc
import Logging
import Metrics
import ObjectStore
import Posix
import Prefetch
import ReadEngine
import SystemPackage

/// One mount from the first check to the last reply: makes the modules, joins them, serves, takes
/// them down again.
struct MountSession {
  var settings: Settings
  var mountPoint: String
  var announcer: Announcer

  /// Returns when the file system is unmounted.
  func run() throws {
    StopSignals.block()
    Hardening.apply(allowsCoreDumps: settings.allowsCoreDumps)
    Machine.raiseDescriptorLimit()
    let signals = StopSignals()
    let place = try MountChecks.mountPoint(
      mountPoint, nonempty: settings.nonempty, environment: settings.environment)
    try MountChecks.device()
    let cache = try settings.cacheFolder.map { path throws(Failure) in
      try MountChecks.cacheFolder(path)
    }
    let runtime = try RuntimeFolder.own(settings.environment)
    let (log, sink) = try makeLog(runtime, place)
    for warning in settings.warnings { log.warning("\(warning)") }
    MountChecks.warnOfOpenSecrets(settings.secretFiles, log)
    // Not in the way of an unmount of the folder that the command was given in.
    if announcer.isDaemon { chdir("/") }
    try signals.listen(lifeline: announcer.lifeline)
    try RuntimePreparation.run()
    let server = try controlServer()
    defer { server.stop() }

    let metrics = Metrics()
    let mounted = try StoreFactory.make(settings, metrics: metrics.store, log: log)
    defer { mounted.store.shutdown() }
    for warning in mounted.warnings { log.warning("\(warning)") }
    try StoreProbe.check(mounted, log)
    metrics.store.reset()
    if let cache, let warning = CacheDisk.current(of: cache)?.warning { log.warning("\(warning)") }
    var configuration = engineConfiguration(cache)
    configuration.spool = mounted.spool
    let engine = try ReadEngine(
      store: mounted.store, configuration: configuration, metrics: metrics, log: log)
    defer { engine.shutdown() }
    // Listings with owners and modes are others than those without.
    let file = mounted.rootRights == nil ? "listings" : "listings-with-rights"
    let listings =
      mounted.frozenBy == nil ? engine.folder.map { ListingsFile(folder: $0, name: file) } : nil
    var names = FileSystemOptions(
      metadataTTL: mounted.frozenBy == nil ? settings.metadataTTL : TimeText.forever,
      metadataLimit: settings.metadataLimit, ioTimeout: settings.ioTimeout,
      listingsFile: listings, frozenBy: mounted.frozenBy)
    names.rootRights = mounted.rootRights
    let fileSystem = FileSystem(
      store: mounted.store, prefix: mounted.prefix, engine: engine, options: names,
      metrics: metrics, log: log)
    defer { fileSystem.shutdown() }

    let prefetcher = Prefetcher(
      fileSystem: fileSystem, engine: engine, mountPoint: place,
      options: prefetchOptions(configuration), metrics: metrics, log: log)
    defer { prefetcher.shutdown() }

    signals.mountBegins()
    var options = mountOptions(place, mounted.name)
    let reports = MountReports(
      MountReports.Facts(
        source: mounted.name, mountPoint: place, socket: runtime.socket(place, pid: getpid()),
        configuration: configuration, metadataLimit: settings.metadataLimit),
      metrics, engine, fileSystem, prefetcher)
    options.controlFiles = controlFiles(prefetcher, reports, log)
    let hasLimit = settings.maxBandwidth != nil || settings.maxRequestsPerSecond != nil
    let frontEnd = try FuseFrontEnd(
      fileSystem: fileSystem, options: options, metrics: metrics.fuse,
      limitClock: hasLimit ? metrics.store.limitClock : nil, log: log)
    signals.mountIs(frontEnd)
    reports.isServed(by: frontEnd)
    startControl(server, runtime, place, reports, fileSystem, prefetcher, sink, log)
    defer {
      server.stop()
      DaemonRecord.removeOwn(mountPoint: place, in: runtime)
    }
    let readers = settings.allowOther ? "all users" : geteuid() == 0 ? "root" : "this user"
    log.notice(
      "mounted",
      metadata: [
        "source": "\(mounted.name)", "at": "\(place)", "version": "\(Millrace.version)",
        "cache": "\(configuration.cacheFolder ?? "none")",
        "passthrough": "\(frontEnd.negotiated["passthrough"] ?? "off")",
        "readers": "\(readers)",
      ])
    let name = mounted.name + (mounted.frozenBy.map { ", \($0)," } ?? "")
    let line = successLine(name, place, configuration, engine, sink)
    if !announcer.mounted(line) {
      log.warning("parent process exited: unmounting")
      frontEnd.unmount()
    }
    let service = ServiceNotice(settings.environment)
    service?.ready(line)
    do throws(Errno) { try service?.watch(place) } catch {
      log.warning("no watchdog: the service manager will end this mount: \(error)")
    }
    frontEnd.run()
    service?.stopping()
    log.notice("unmounted", metadata: ["at": "\(place)"])
    // A log that the user did not request and that reports no trouble would only pile up.
    if announcer.isDaemon, settings.logFile == nil, settings.logLevel >= .notice,
      !sink.hasWarnings
    {
      unlink(runtime.file(place, "log"))
    }
  }

  private func controlServer() throws(Failure) -> ControlServer {
    do throws(Errno) { return try ControlServer() } catch {
      throw Failure(
        "cannot mount: the control socket needs four threads: \(error); \(error.limitAdvice)")
    }
  }

  private func makeLog(_ runtime: RuntimeFolder, _ place: String) throws(Failure)
    -> (Logger, LogSink)
  {
    let file = settings.logFile ?? (announcer.isDaemon ? runtime.file(place, "log") : nil)
    let sink = try file.map { path throws(Failure) in try LogSink(file: path) } ?? LogSink()
    if announcer.isDaemon { sink.takeStandardError() }
    let level = settings.logLevel
    let log = Logger(label: "millrace", factory: { _ in LineLogHandler(sink: sink, level: level) })
    return (log, sink)
  }

  private func engineConfiguration(_ cache: String?) -> EngineConfiguration {
    let disk = cache.flatMap { Machine.disk(of: $0) } ?? Machine.Disk(size: 0, free: 0)
    return EngineConfiguration(
      memoryLimit: settings.memoryLimit, cacheFolder: cache,
      cacheLimit: settings.cacheSize.resolved(of: disk.size), eviction: settings.eviction,
      freeSpaceFloor: settings.cacheMinFree.resolved(of: disk.size), ioTimeout: settings.ioTimeout)
  }

  private func prefetchOptions(_ configuration: EngineConfiguration) -> PrefetchOptions {
    var options = PrefetchOptions()
    options.fill = settings.prefetch
    if let budget = settings.prefetchBudget { options.fillMultiple = budget }
    // What is fetched ahead must not push out what was fetched ahead.
    let room =
      configuration.cacheFolder == nil
      ? UInt64(configuration.memoryLimit) / 4 : configuration.cacheLimit / 4
    options.orderWindow = settings.prefetchWindow ?? min(1 << 30, room)
    options.windowInMemory = UInt64(configuration.memoryLimit) / 4
    options.orderMemory = settings.metadataLimit
    return options
  }

  private func controlFiles(
    _ prefetcher: Prefetcher, _ reports: MountReports, _ log: Logger
  ) -> ControlFiles {
    ControlFiles(
      apply: { bytes, name in
        do throws(Prefetcher.OrderFailure) {
          try prefetcher.take(order: bytes, name: name)
          return nil
        } catch {
          log.error(
            "an order was not accepted", metadata: ["name": "\(name)", "reason": "\(error)"])
          switch error {
          case .tooLarge: return .fileTooLarge
          case .nothingFound: return .noSuchFileOrDirectory
          case .tooMany, .noMemory: return .noSpace
          }
        }
      },
      remove: { prefetcher.removeOrder($0) }, names: { prefetcher.orderNames },
      limits: ControlFiles.Limits(
        file: Prefetcher.orderLimit,
        total: min(2 * Prefetcher.orderLimit, settings.metadataLimit),
        name: Prefetcher.orderNameLimit),
      report: { reports.text($0) })
  }

  private func mountOptions(_ place: String, _ name: String) -> MountOptions {
    var options = MountOptions(
      mountPoint: place, sourceName: name, owner: settings.owner, group: settings.group)
    options.allowOther = settings.allowOther
    options.fileMode = settings.fileMode
    options.folderMode = settings.folderMode
    options.sourceAccess = settings.sourceAccess
    options.threads = settings.threads
    if !settings.noPassthrough, let cache = settings.cacheFolder.flatMap(realPath) {
      // A file on overlayfs, as in a container, is one file system deeper.
      let isOverlay = MountInfo.current().mount(holding: cache)?.type == "overlay"
      options.passthroughDepth = isOverlay ? 2 : 1
    }
    return options
  }

  /// How long the line waits for the cache's index: without it what is cached does not count as reachable.
  private static let indexPatience = Duration.milliseconds(500)

  private func successLine(
    _ name: String, _ place: String, _ configuration: EngineConfiguration, _ engine: ReadEngine,
    _ sink: LogSink
  ) -> String {
    let cache = configuration.cacheFolder.map { folder -> String in
      _ = engine.waitUntilCacheIsCounted(by: .now + Self.indexPatience)
      let limit = configuration.cacheLimit
      let size = min(engine.reachableCache ?? limit, limit)
      return "cache \(folder), \(ByteSize.show(size))"
        + (size < limit ? "; the disk lacks the free space for \(ByteSize.show(limit))" : "")
    }
    let log = sink.path.map { "; log \($0)" } ?? ""
    return "Mounted \(name) at \(place) (\(cache ?? "no cache on disk")\(log))"
  }

  /// After the mount is usable: no caller waits for it.
  private func startControl(
    _ server: ControlServer, _ runtime: RuntimeFolder, _ place: String, _ reports: MountReports,
    _ fileSystem: FileSystem, _ prefetcher: Prefetcher, _ sink: LogSink, _ log: Logger
  ) {
    let actions = ControlActions(
      stats: { reports.current() }, totals: { reports.totals(byName: $0) },
      refresh: { Self.refresh($0, fileSystem) },
      // The mount shows it once the command has ended.
      update: { path, reply in
        fileSystem.update(path) { found in fileSystem.afterInvalidations { reply(found) } }
      }, prefetcher: prefetcher)
    do { try DaemonRecord.write(mountPoint: place, log: sink.path, in: runtime) } catch {
      log.warning(
        "no runtime file: unmount cannot wait for this daemon", metadata: ["error": "\(error)"])
    }
    server.start(path: runtime.socket(place, pid: getpid()), actions: actions) {
      log.warning("no control socket", metadata: ["error": "\($0)"])
    }
  }
}

extension MountSession {
  /// The kernel may wait for requests that wait for the store; the command does not.
  private static let patience = Duration.seconds(5)

  fileprivate static func refresh(_ path: [UInt8], _ fileSystem: FileSystem) -> Int {
    defer { fileSystem.waitForInvalidations(within: patience) }
    return fileSystem.refresh(path)
  }
}
