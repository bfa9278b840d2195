/// Requests of the kernel in, replies out: the only module that knows FUSE.
///
/// It speaks libfuse's low-level interface with a loop and threads of its own (`FuseLoop`). A
/// request comes in through the table in `RequestTable` and becomes a call of the file system or, for a
/// read, of the open object. The reply is sent immediately on the thread that took the request, or later
/// from any thread through a `ParkedRequest`. No thread here ever waits for a store. The code that sets
/// up a mount calls `init`, then `run` on a thread it can spare, and `unmount` from any thread.
import CFuseShim
public import FileSystem
import Glibc
public import Logging
public import Metrics
import Posix
import Synchronization
import SystemPackage

public final class FuseFrontEnd: Sendable {
  let connection: FuseSession
  private let mount: Mountpoint
  private let loop: FuseLoop
  let notifier: Notifier
  private let readAhead: ReadAheadSetting.Outcome

  /// Mounts and serves. When this returns, the mount point shows the file system.
  public init(
    fileSystem: FileSystem, options: MountOptions, metrics: FrontMetrics,
    limitClock: LimitClock? = nil, log: Logger
  ) throws(MountError) {
    let folder = try MountErrorExplanation.resolve(options.mountPoint)
    try MountErrorExplanation.checkDevice()
    LibraryLog.route(to: log)
    let connection = try FuseSession(
      fileSystem: fileSystem, options: options, metrics: metrics, limitClock: limitClock, log: log)
    mount = try Mountpoint(connection, at: folder, options: options, log: log)
    let isHooked = PassthroughNegotiation.install(on: connection.raw)
    do throws(MountError) {
      try connection.shakeHands()
    } catch {
      mount.detach()
      throw error
    }
    connection.settlePassthrough(isHooked: isHooked)
    // The kernel offers 128 KiB; before the mount is announced, so that no file is open yet.
    readAhead = ReadAheadSetting.apply(to: mount.device)
    notifier = Notifier(connection)
    loop = FuseLoop(connection, threads: options.threads)
    self.connection = connection
    fileSystem.onInvalidation { [notifier] in notifier.deliver($0) }
    do throws(Errno) { try loop.start() } catch {
      // `deinit` takes the mount away.
      throw MountError(
        "\(folder): cannot start a thread that serves the mount: \(error); \(error.limitAdvice)")
    }
  }

  deinit {
    mount.detach()
    notifier.stop(within: .seconds(2))
    connection.close()
  }

  /// How this program asks the kernel for passthrough, chosen when it was compiled.
  public static var passthroughInterface: String {
    millrace_knows_passthrough()
      ? "through libfuse" : "by this program, since libfuse is older than 3.17"
  }

  /// Who asked for what, and what they waited for.
  public var callers: [CallerReport] { connection.accounts.reports }

  /// The same summed over all processes, and by their names.
  public func totals(byName: Bool) -> ProcessTotals { connection.accounts.totals(byName: byName) }

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
    connection.close()
  }

  /// Unmounts (detached, if it is busy) so that `run` returns. Callable from any thread, once or more.
  ///
  /// Files that are open keep being served for `grace`; after it the connection is cut.
  public func unmount(grace: Duration = .seconds(10)) {
    mount.detach()
    loop.stop(by: Instant.now + grace)
  }

  /// What the kernel granted, for stats and logs: protocol version, request size, read-ahead.
  public var session: [String: String] {
    var facts = connection.facts.withLock { $0 }
    facts["mountPoint"] = mount.path
    facts["device"] = mount.device?.description ?? "unknown"
    facts["readAhead"] = readAhead.description
    facts["passthrough"] = connection.passthrough?.state ?? "off"
    return facts
  }
}
