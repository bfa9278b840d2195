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
  /// Answers requests for what the store has.
  let data: DataNodes
  /// Answers requests for the control directory; nil: this mount has none.
  private let control: ControlNodes?
  let metrics: FrontMetrics
  /// Splits what a request for metadata waited; nil without a limit.
  let limitClock: LimitClock?
  let errors: RequestErrorLog
  let interrupts = InterruptMonitor()
  let processes = ProcessRegistry()
  let passthroughNegotiation: PassthroughNegotiation.Outcome
  private(set) var raw: OpaquePointer
  /// nil: requests are not logged.
  private let tracer: Logger?
  private let negotiated = Lock<[String: String]>([:])
  private let open = Atomic(true)

  init(
    fileSystem: FileSystem, options: MountOptions, metrics: FrontMetrics,
    limitClock: LimitClock? = nil, log: Logger,
    callbacks: fuse_lowlevel_ops = RequestTable.callbacks()
  ) throws(MountError) {
    let mapper = AttributeMapper(options)
    data = DataNodes(fileSystem, mapper, metrics)
    control = options.controlFiles.map { ControlNodes(ControlDirectory($0), mapper) }
    self.metrics = metrics
    self.limitClock = limitClock
    errors = RequestErrorLog(metrics: metrics, log: log)
    tracer = log.logLevel <= .debug ? log : nil
    passthroughNegotiation = PassthroughNegotiation.Outcome(
      stackDepth: options.passthroughDepth)
    raw = OpaquePointer(bitPattern: 1)!
    let (session, lines) = LibraryLog.capture {
      var arguments: [UnsafeMutablePointer<CChar>?] = options.arguments.map { strdup($0) }
      defer { for argument in arguments { free(argument) } }
      var callbacks = callbacks
      return millrace_session_new(
        CInt(arguments.count), &arguments, &callbacks, Unmanaged.passUnretained(self).toOpaque())
    }
    guard let session else { throw MountErrorExplanation.session(lines) }
    raw = session
  }

  deinit {
    // Closes the descriptor and frees; it never unmounts (fuse_session_unmount would detach
    // whatever is mounted at the path by now, ours or not).
    if raw != OpaquePointer(bitPattern: 1) { fuse_session_destroy(raw) }
  }

  /// The descriptor of /dev/fuse that this session reads.
  var device: CInt { fuse_session_fd(raw) }

  /// What INIT negotiated, in words; empty before.
  var facts: [String: String] { negotiated.withLock { $0 } }

  /// INIT brought this.
  func record(_ facts: [String: String]) { negotiated.withLock { $0 = facts } }

  // MARK: Requests

  /// The session that a request belongs to, borrowed: no reference counting on the hit path.
  @inline(__always)
  static func with(_ request: fuse_req_t?, _ body: (FuseSession, fuse_req_t) -> Void) {
    guard let request, let userdata = fuse_req_userdata(request) else { return }
    Unmanaged<FuseSession>.fromOpaque(userdata)._withUnsafeGuaranteedRef { body($0, request) }
  }

  /// Has a request answered by the one whose node it is for, now or later.
  @inline(__always)
  func serve(_ operation: NodeRequest, _ request: fuse_req_t) {
    if ControlDirectory.owns(operation), let control {
      control.serve(operation, request, self)
    } else if case .read(_, let handle, let size, let offset) = operation {
      // The hit path: decided when this is compiled, so that the request is never a value in memory.
      data.read(request, self, handle, size: size, offset: offset)
    } else {
      data.serve(operation, request, self)
    }
  }

  /// The kernel holds `count` lookups of a node less. It wants no reply.
  func forget(_ node: NodeID, _ count: UInt64) {
    trace("forget", node)
    if ControlDirectory.owns(node), let control {
      control.directory.forget(node, count: count)
    } else {
      data.forget(node, count)
    }
  }

  /// What would write to the mount, which is read-only.
  func refuseChange(_ request: fuse_req_t, _ operation: StaticString, _ node: NodeID) {
    trace(operation, node) { "refused: EROFS" }
    _ = fuse_reply_err(request, EROFS)
  }

  // MARK: Log

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

  // MARK: End

  /// False once the connection was cut; replies then go nowhere.
  var isOpen: Bool { open.load(ordering: .acquiring) }

  /// Cuts the connection to the kernel, if the unmount has not, and closes what was left open.
  ///
  /// The descriptor's number stays taken, by /dev/null: replies that come later must not hit a file
  /// that was opened under the same number.
  func close() {
    guard open.exchange(false, ordering: .acquiringAndReleasing) else { return }
    let device = device
    data.closeBackingFiles()
    if device >= 0, let null = try? OwnedDescriptor.open("/dev/null", O_RDWR) {
      _ = dup2(null.raw, device)
    }
    data.closeAll()
    interrupts.stop()
    control?.directory.shutdown()
  }

  /// Answers a read. The bytes are copied by the kernel before this returns.
  @inline(__always)
  func send(_ reply: ReadReply, to request: fuse_req_t) -> CInt {
    switch reply {
    case .data(let blocks):
      // libfuse allocates for more than one part.
      guard blocks.count > 1 else {
        return fuse_reply_buf(request, blocks.first?.iov_base, blocks.first?.iov_len ?? 0)
      }
      return fuse_reply_iov(request, blocks.baseAddress, CInt(blocks.count))
    case .failure(let error):
      errors.record(error, during: .read)
      return fuse_reply_err(request, error.replyCode)
    }
  }
}
