import CFuseShim
import FileSystem
import Glibc
import Logging
import Metrics
import Posix
import ReadEngine
import Synchronization
import SystemPackage

/// libfuse's session and all that its callbacks need. Every parked request retains it, so that a
/// reply that comes after the unmount still has something to go into.
///
/// Unchecked: `raw` is written once, in `init`, before any other thread can know of the instance.
final class FuseSession: @unchecked Sendable {
  let fileSystem: FileSystem
  let view: AttributeMapper
  let metrics: FrontMetrics
  /// Splits what a request for metadata waited; nil without a limit.
  let limitClock: LimitClock?
  let failures: RequestErrorLog
  /// nil: operations are not logged.
  private let tracer: Logger?
  let handles = OpenHandles()
  let callers = InterruptMonitor()
  let accounts = ProcessRegistry()
  /// nil: this mount has no control folder.
  let control: ControlDirectory?
  let folderCopies = Lock(KernelDirectoryCache())
  let attributePolicy = Lock(ReaddirplusPolicy())
  let passthroughOutcome: PassthroughNegotiation.Outcome
  /// What INIT negotiated; empty before.
  let facts = Lock<[String: String]>([:])
  private(set) var raw: OpaquePointer
  /// Written once, between INIT and the first request.
  private(set) var passthrough: Passthrough?
  private let open = Atomic(true)

  init(
    fileSystem: FileSystem, options: MountOptions, metrics: FrontMetrics,
    limitClock: LimitClock? = nil, log: Logger,
    operations: fuse_lowlevel_ops = RequestTable.table()
  ) throws(MountError) {
    self.fileSystem = fileSystem
    view = AttributeMapper(options)
    self.metrics = metrics
    self.limitClock = limitClock
    failures = RequestErrorLog(metrics: metrics, log: log)
    tracer = log.logLevel <= .debug ? log : nil
    control = options.controlFiles.map { ControlDirectory($0) }
    passthroughOutcome = PassthroughNegotiation.Outcome(
      stackDepth: options.passthroughDepth)
    raw = OpaquePointer(bitPattern: 1)!
    let (session, lines) = LibraryLog.capture {
      var arguments: [UnsafeMutablePointer<CChar>?] = options.arguments.map { strdup($0) }
      defer { for argument in arguments { free(argument) } }
      var operations = operations
      return millrace_session_new(
        CInt(arguments.count), &arguments, &operations, Unmanaged.passUnretained(self).toOpaque())
    }
    guard let session else { throw MountErrorExplanation.session(lines) }
    raw = session
  }

  deinit {
    // Closes the descriptor and frees; it never unmounts (fuse_session_unmount would detach
    // whatever is mounted at the path by now, ours or not).
    if raw != OpaquePointer(bitPattern: 1) { fuse_session_destroy(raw) }
  }

  /// The session that a request belongs to, borrowed: no reference counting on the hit path.
  @inline(__always)
  static func with(_ request: fuse_req_t?, _ body: (FuseSession, fuse_req_t) -> Void) {
    guard let request, let userdata = fuse_req_userdata(request) else { return }
    Unmanaged<FuseSession>.fromOpaque(userdata)._withUnsafeGuaranteedRef { body($0, request) }
  }

  /// Logs an operation of the kernel's at level debug. Costs a comparison where that is off.
  ///
  /// Returns what names the operation in the line of its result; nil where that is off.
  @inline(__always) @discardableResult
  func trace(_ operation: StaticString, _ node: NodeID, _ detail: () -> String = { "" }) -> String?
  {
    tracer == nil ? nil : logOperation(operation, node, detail())
  }

  @inline(never)
  private func logOperation(
    _ operation: StaticString, _ node: NodeID, _ detail: String
  ) -> String {
    let label = "fuse \(operation) node=\(node)\(detail.isEmpty ? "" : " ")\(detail)"
    tracer?.debug("\(label)")
    return label
  }

  /// "fuse read node=7 offset=0 size=4096: ok, 0.1 ms". `label`: what `trace` returned.
  func traceResult(_ label: String, _ error: Errno?, after time: Duration) {
    tracer?.debug("\(label): \(error.map { "\($0)" } ?? "ok"), \(time.shownInMilliseconds)")
  }

  /// What INIT has made of the wish for passthrough. Called before the loop starts.
  func settlePassthrough(isHooked: Bool) {
    let outcome = passthroughOutcome
    let reason: String? =
      if outcome.stackDepth == 0 {
        "not requested"
      } else if !isHooked {
        "not supported by this libfuse"
      } else if !outcome.isOffered.load(ordering: .relaxed) {
        "needs Linux 6.9 or later"
      } else {
        outcome.isAskedFor.load(ordering: .relaxed) ? nil : "not supported by this libfuse"
      }
    let passthrough = Passthrough(
      device: fuse_session_fd(raw), unavailable: reason, kept: metrics.cachedOpenFiles)
    self.passthrough = passthrough
    fileSystem.onDiskPressure { [weak passthrough] in passthrough?.letGo() }
  }

  /// False once the connection was cut; replies then go nowhere.
  var isOpen: Bool { open.load(ordering: .acquiring) }

  /// Cuts the connection to the kernel, if the unmount has not, and closes what was left open.
  ///
  /// The descriptor's number stays taken, by /dev/null: replies that come later must not hit a file
  /// that was opened under the same number.
  func close() {
    guard open.exchange(false, ordering: .acquiringAndReleasing) else { return }
    let device = fuse_session_fd(raw)
    passthrough?.letGo()
    if device >= 0, let null = try? OwnedDescriptor.open("/dev/null", O_RDWR) {
      _ = dup2(null.raw, device)
    }
    handles.closeAll()
    // What those had kept open; the ids went with the connection.
    passthrough?.letGo()
    callers.stop()
    control?.shutdown()
  }

  /// Answers a read. The bytes are copied by the kernel before this returns.
  @inline(__always)
  func send(_ reply: ReadReply, to request: fuse_req_t) -> CInt {
    switch reply {
    case .data(let pieces):
      // libfuse allocates for more than one piece.
      guard pieces.count > 1 else {
        return fuse_reply_buf(request, pieces.first?.iov_base, pieces.first?.iov_len ?? 0)
      }
      return fuse_reply_iov(request, pieces.baseAddress, CInt(pieces.count))
    case .failure(let error):
      failures.note(error, during: .read)
      return fuse_reply_err(request, error.replyCode)
    }
  }
}
