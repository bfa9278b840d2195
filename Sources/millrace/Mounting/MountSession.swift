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

/// One mount from the first check to the last reply: prepares the machine's side, makes the modules, joins them,
/// serves, takes them down again.
struct MountSession {
  var settings: Settings
  var mountPoint: String
  var announcer: Announcer

  /// What a mount stands on, on this machine.
  private struct Host {
    var place: String
    /// The cache folder, checked; nil: memory alone.
    var cache: String?
    var runtime: RuntimeFolder
    var log: Logger
    var sink: LogSink
    var server: ControlServer

    var socket: String { runtime.socket(place, pid: getpid()) }
  }

  /// Returns when the file system is unmounted. What was begun is ended in reverse, whichever step throws.
  func run() throws {
    StopSignals.block()
    Hardening.apply(allowsCoreDumps: settings.serving.allowsCoreDumps)
    Machine.raiseDescriptorLimit()
    let signals = StopSignals()
    let host = try prepare(signals)
    defer { host.server.stop() }

    let metrics = Metrics()
    let mounted = try StoreFactory.make(settings, metrics: metrics.store, log: host.log)
    defer { mounted.store.shutdown() }
    for warning in mounted.warnings { host.log.warning("\(warning)") }
    try StoreProbe.check(mounted, host.log)
    metrics.store.reset()
    if let cache = host.cache, let warning = CacheDisk.current(of: cache)?.warning {
      host.log.warning("\(warning)")
    }
    let modules = try MountModules(
      settings, of: mounted, at: host.place, cache: host.cache, metrics: metrics, log: host.log)
    defer { modules.shutdown() }
    try serve(modules, mounted, host, signals)
  }

  /// Checks, and what needs no store. The control server is the last step: none of the others need be undone.
  private func prepare(_ signals: StopSignals) throws -> Host {
    let place = try MountChecks.mountPoint(
      mountPoint, nonempty: settings.serving.nonempty, environment: settings.environment)
    try MountChecks.device()
    let cache = try settings.cache.folder.map { path throws(Failure) in
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
    return Host(
      place: place, cache: cache, runtime: runtime, log: log, sink: sink,
      server: try controlServer())
  }

  /// From the mount to the unmount.
  private func serve(
    _ modules: MountModules, _ mounted: StoreFactory.Mounted, _ host: Host, _ signals: StopSignals
  ) throws {
    signals.mountBegins()
    let reports = modules.reports(of: mounted.name, at: host.place, socket: host.socket)
    let frontEnd = try makeFrontEnd(modules, mounted, host, reports)
    signals.mountIs(frontEnd)
    reports.isServed(by: frontEnd)
    startControl(host, reports, modules)
    defer {
      host.server.stop()
      DaemonRecord.removeOwn(mountPoint: host.place, in: host.runtime)
    }
    logMounted(mounted, host, modules, frontEnd)
    let name = mounted.name + (mounted.frozenBy.map { ", \($0)," } ?? "")
    let line = successLine(name, host, modules)
    if !announcer.mounted(line) {
      host.log.warning("parent process exited: unmounting")
      frontEnd.unmount()
    }
    let service = ServiceNotice(settings.environment)
    service?.ready(line)
    do throws(Errno) { try service?.watch(host.place) } catch {
      host.log.warning("no watchdog: the service manager will end this mount: \(error)")
    }
    frontEnd.run()
    service?.stopping()
    host.log.notice("unmounted", metadata: ["at": "\(host.place)"])
    // A log that the user did not request and that reports no trouble would only pile up.
    if announcer.isDaemon, settings.log.file == nil, settings.log.level >= .notice,
      !host.sink.hasWarnings
    {
      unlink(host.runtime.file(host.place, "log"))
    }
  }

  private func makeFrontEnd(
    _ modules: MountModules, _ mounted: StoreFactory.Mounted, _ host: Host, _ reports: MountReports
  ) throws -> FuseFrontEnd {
    var options = mountOptions(host.place, mounted.name)
    options.controlFiles = controlFiles(modules.prefetcher, reports, host.log)
    let hasLimit =
      settings.rates.maxBandwidth != nil || settings.rates.maxRequestsPerSecond != nil
    return try FuseFrontEnd(
      fileSystem: modules.fileSystem, options: options, metrics: modules.metrics.fuse,
      limitClock: hasLimit ? modules.metrics.store.limitClock : nil, log: host.log)
  }

  private func logMounted(
    _ mounted: StoreFactory.Mounted, _ host: Host, _ modules: MountModules,
    _ frontEnd: FuseFrontEnd
  ) {
    let readers =
      settings.presentation.allowOther ? "all users" : geteuid() == 0 ? "root" : "this user"
    host.log.notice(
      "mounted",
      metadata: [
        "source": "\(mounted.name)", "at": "\(host.place)", "version": "\(Millrace.version)",
        "cache": "\(modules.configuration.cacheFolder ?? "none")",
        "passthrough": "\(frontEnd.negotiated["passthrough"] ?? "off")",
        "readers": "\(readers)",
      ])
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
    let file = settings.log.file ?? (announcer.isDaemon ? runtime.file(place, "log") : nil)
    let sink = try file.map { path throws(Failure) in try LogSink(file: path) } ?? LogSink()
    if announcer.isDaemon { sink.takeStandardError() }
    let level = settings.log.level
    let log = Logger(label: "millrace", factory: { _ in LineLogHandler(sink: sink, level: level) })
    return (log, sink)
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
        total: min(2 * Prefetcher.orderLimit, settings.limits.metadata),
        name: Prefetcher.orderNameLimit),
      report: { reports.text($0) })
  }

  private func mountOptions(_ place: String, _ name: String) -> MountOptions {
    var options = MountOptions(
      mountPoint: place, sourceName: name, owner: settings.presentation.owner,
      group: settings.presentation.group)
    options.allowOther = settings.presentation.allowOther
    options.fileMode = settings.presentation.fileMode
    options.folderMode = settings.presentation.folderMode
    options.sourceAccess = settings.presentation.sourceAccess
    options.threads = settings.serving.threads
    if !settings.serving.noPassthrough, let cache = settings.cache.folder.flatMap(realPath) {
      // A file on overlayfs, as in a container, is one file system deeper.
      let isOverlay = MountInfo.current().mount(holding: cache)?.type == "overlay"
      options.passthroughDepth = isOverlay ? 2 : 1
    }
    return options
  }

  /// How long the line waits for the cache's index: without it what is cached does not count as reachable.
  private static let indexPatience = Duration.milliseconds(500)

  private func successLine(
    _ name: String, _ host: Host, _ modules: MountModules
  ) -> String {
    let (configuration, engine) = (modules.configuration, modules.engine)
    let cache = configuration.cacheFolder.map { folder -> String in
      _ = engine.waitUntilCacheIsCounted(by: .now + Self.indexPatience)
      let limit = configuration.cacheLimit
      let size = min(engine.reachableCache ?? limit, limit)
      return "cache \(folder), \(ByteSize.show(size))"
        + (size < limit ? "; the disk lacks the free space for \(ByteSize.show(limit))" : "")
    }
    let log = host.sink.path.map { "; log \($0)" } ?? ""
    return "Mounted \(name) at \(host.place) (\(cache ?? "no cache on disk")\(log))"
  }

  /// After the mount is usable: no caller waits for it.
  private func startControl(
    _ host: Host, _ reports: MountReports, _ modules: MountModules
  ) {
    let (fileSystem, log) = (modules.fileSystem, host.log)
    let actions = ControlActions(
      stats: { reports.current() }, totals: { reports.totals(byName: $0) },
      refresh: { Self.refresh($0, fileSystem) },
      // The mount shows it once the command has ended.
      update: { path, reply in
        fileSystem.update(path) { found in fileSystem.afterInvalidations { reply(found) } }
      }, prefetcher: modules.prefetcher)
    do {
      try DaemonRecord.write(mountPoint: host.place, log: host.sink.path, in: host.runtime)
    } catch {
      log.warning(
        "no runtime file: unmount cannot wait for this daemon", metadata: ["error": "\(error)"])
    }
    host.server.start(path: host.socket, actions: actions) {
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
