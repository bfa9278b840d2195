/// Requests of the kernel in, replies out: the only module that knows FUSE.
///
/// It speaks libfuse's low-level interface with a loop and threads of its own. The code that sets up a mount calls
/// `init`, then `run` on a thread it can spare, and `unmount` from any thread.
///
/// Parts, a folder each:
/// - **Requests**: `FuseLoop` has the threads that read /dev/fuse. `RequestTable`, the callbacks that libfuse is given,
///   makes a `NodeRequest` of each request; `FuseSession` chooses once, by the number of the node, who answers it. A
///   request that cannot be answered at once is a `ParkedRequest`. `Notifier` has the kernel drop what is stale.
/// - **Data**: `DataNodes` answers requests for what the store has: by the file system, or for a read by the open
///   object. `AttributeMapper`, `DirectoryReply` and `KernelDirectories` say it in the kernel's terms; `OpenHandles` is
///   what `fi->fh` points to.
/// - **Control**: `ControlDirectory` answers requests for `.millrace`, without libfuse: orders are written there
///   (`OrderNodes`, `OrderFile`) and reports read (`ControlReports`). `ControlNodes` carries requests and answers.
/// - **Passthrough**: whether the kernel reads a cache file by itself. `BackingFileRegistry` decides it for each open.
/// - **Processes**: who waits for what (`ProcessRegistry`), and who was killed meanwhile (`InterruptMonitor`).
/// - **Mounting**: options, INIT, the mount in the name space, and why there is none (`MountErrorExplanation`).
///
/// A read of cached bytes: `FuseLoop` -> `RequestTable` -> `FuseSession.serve` -> `DataNodes.read` -> the open object
/// of ReadEngine -> `FuseSession.send`, on one thread, without an allocation of this module's and without counting
/// references. Other requests leave by a `ParkedRequest`, and their reply comes from any thread.
///
/// Promises: no thread here waits for a store or for a report. Each request is answered once; one that is dropped by
/// mistake fails with EIO and is counted. Nothing is called, sent or waited for under a lock, but for two cases: the
/// registration of a backing file (`Passthrough`), which decides the mode of an inode for all its opens, and the mount
/// itself, whose helper writes to the standard error of the whole process (`StandardErrorCapture`).
import CFuseShim
public import FileSystem
import Glibc
public import Logging
public import Metrics
import Posix
import Synchronization
import SystemPackage

/// One mount, from the first check to the last reply.
public final class FuseFrontEnd: Sendable {
  let session: FuseSession
  private let mount: Mountpoint
  private let loop: FuseLoop
  let notifier: Notifier
  private let readAhead: ReadAheadSetting.Outcome

  /// Mounts and serves. When this returns, the mount point shows the file system.
  public init(
    fileSystem: FileSystem, options: MountOptions, metrics: FrontMetrics,
    limitClock: LimitClock? = nil, log: Logger
  ) throws(MountError) {
    let path = try MountErrorExplanation.resolve(options.mountPoint)
    try MountErrorExplanation.checkDevice()
    LibraryLog.route(to: log)
    let session = try FuseSession(
      fileSystem: fileSystem, options: options, metrics: metrics, limitClock: limitClock, log: log)
    mount = try Mountpoint(session, at: path, options: options, log: log)
    let isHooked = PassthroughNegotiation.install(on: session.raw)
    do throws(MountError) {
      try session.receiveInit()
    } catch {
      mount.detach()
      throw error
    }
    session.data.use(
      Passthrough(
        device: session.device,
        unavailable: session.passthroughNegotiation.reasonUnavailable(isHooked: isHooked),
        kept: metrics.cachedOpenFiles))
    // The kernel offers 128 KiB; before the mount is announced, so that no file is open yet.
    readAhead = ReadAheadSetting.apply(to: mount.device)
    notifier = Notifier(session)
    loop = FuseLoop(session, threads: options.threads)
    self.session = session
    fileSystem.onInvalidation { [notifier] in notifier.deliver($0) }
    do throws(Errno) { try loop.start() } catch {
      // `deinit` takes the mount away.
      throw MountError(
        "\(path): cannot start a thread that serves the mount: \(error); \(error.limitAdvice)")
    }
  }

  deinit {
    mount.detach()
    notifier.stop(within: .seconds(2))
    session.close()
  }

  /// How this program asks the kernel for passthrough, chosen when it was compiled.
  public static var passthroughInterface: String {
    millrace_knows_passthrough()
      ? "through libfuse" : "by this program, since libfuse is older than 3.17"
  }

  /// What each process requested, and what it waited for.
  public var callers: [CallerReport] { session.processes.reports }

  /// The same summed over all processes, and by their names.
  public func totals(byName: Bool) -> ProcessTotals { session.processes.totals(byName: byName) }

  /// Waits until the file system is unmounted, by any process; returns after the last reply.
  ///
  /// Replies to requests that are still parked then (a detached mount whose grace period is over) go
  /// nowhere: the readers already got ECONNABORTED from the kernel.
  public func run() {
    loop.run { [notifier] in
      // While the loop still answers: a notification may wait for a lock that a lookup holds.
      notifier.stop(within: .seconds(2))
    }
    mount.detach()  // The loop may have ended for another reason than an unmount.
    notifier.stop(within: .seconds(2))
    session.close()
  }

  /// Unmounts (detached, if it is busy) so that `run` returns. Callable from any thread, once or more.
  ///
  /// Files that are open keep being served for `grace`; after it the connection is cut.
  public func unmount(grace: Duration = .seconds(10)) {
    mount.detach()
    loop.stop(by: Instant.now + grace)
  }

  /// What the kernel granted, for stats and logs: protocol version, request size, read-ahead.
  public var negotiated: [String: String] {
    var facts = session.facts
    facts["mountPoint"] = mount.path
    facts["device"] = mount.device?.description ?? "unknown"
    facts["readAhead"] = readAhead.description
    facts["passthrough"] = session.data.passthrough?.state ?? "off"
    return facts
  }
}
