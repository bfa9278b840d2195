/// HTTP over libcurl: one thread, one multi handle, connections reused, retries bounded in number
/// and in time. Stores hand it exchanges; it knows no store.
///
/// `Exchange` is what a store writes. `TransferLoop` is the thread; it acts on what three values
/// decide: `RetryState` (try again?), `RetryBudget` (may we, all together?) and `ProgressWatch`
/// (is it still alive?). `Transfer` is one attempt on the wire, `CurlMulti` waits for sockets.
import CCurlShim
public import Logging
public import Metrics
public import ObjectStore
public import Posix
import SystemPackage

public final class Transport: Sendable {
  private struct Running: Sendable {
    let mailbox: Mailbox
    let thread: Thread
    let identity: ThreadIdentity
  }

  private enum Phase {
    /// The machine gave no thread or descriptor yet.
    case missing
    case running(Running)
    case stopped
  }

  private let configuration: TransportConfiguration
  private let metrics: StoreMetrics
  private let log: Logger
  private let phase = Lock(Phase.missing)

  /// Starts the thread. Where the machine has none to give, nor a descriptor, that is tried again with each
  /// exchange; `prepare` tells.
  public init(configuration: TransportConfiguration, metrics: StoreMetrics, log: Logger) {
    _ = Self.globalInit
    self.configuration = configuration
    self.metrics = metrics
    self.log = log
    _ = running()
  }

  deinit { shutdown() }

  /// Throws `.unreachable` if the transport cannot run now: for those who would rather not begin.
  public func prepare() throws(StoreError) { _ = try running().get() }

  /// Starts an exchange; it ends by `deadline`. Its calls come from the transport's thread, and it
  /// may start others or cancel from there.
  ///
  /// After `shutdown` it ends with `.cancelled` at once, on the caller's thread; with `.unreachable` where the
  /// machine has no thread or descriptor for the transport.
  @discardableResult
  public func start(_ exchange: any Exchange, deadline: Instant) -> any FetchTicket {
    switch running() {
    case .failure(let error):
      exchange.finish(.failure(error))
      return EndedTicket()
    case .success(let running):
      let policy = RetryPolicy(maxAttempts: configuration.maxAttempts)
      let task = ExchangeTask(
        exchange, deadline: deadline, policy: policy, mailbox: running.mailbox)
      if !running.mailbox.start(task) { exchange.finish(.failure(Self.ended)) }
      return task
    }
  }

  /// Completes every exchange with `.cancelled` and joins the thread.
  public func shutdown() {
    let phase = phase.withLock { phase in
      defer { phase = .stopped }
      return phase
    }
    guard case .running(let running) = phase else { return }
    running.mailbox.stop()
    // The last reference may go in a completion, on the thread itself: it then ends by itself.
    if !running.identity.isCurrent { running.thread.join() }
  }

  private func running() -> Result<Running, StoreError> {
    phase.withLock { phase in
      switch phase {
      case .running(let running): return .success(running)
      case .stopped: return .failure(Self.ended)
      case .missing:
        do throws(Errno) {
          let running = try begin()
          phase = .running(running)
          return .success(running)
        } catch {
          return .failure(
            StoreError(
              .unreachable, store: "", detail: "no transfer can be started: \(error)",
              advice: error.limitAdvice))
        }
      }
    }
  }

  private func begin() throws(Errno) -> Running {
    let mailbox = Mailbox(limit: configuration.maxLiveExchanges, wakeUp: try WakeUp())
    let loop = try TransferLoop(
      mailbox: mailbox, configuration: configuration, metrics: metrics, log: log,
      seed: .random(in: 0...(.max)))
    let identity = ThreadIdentity()
    let thread = try Thread.start(named: "transport") {
      identity.setToCurrent()
      loop.run()
    }
    return Running(mailbox: mailbox, thread: thread, identity: identity)
  }

  private static let ended = StoreError(
    .cancelled, store: "", detail: "the transport has been shut down")

  private final class EndedTicket: FetchTicket {
    func cancel() {}
  }

  private static let globalInit: Void = { _ = millrace_global_init() }()
}

/// Limits and times of the transport.
public struct TransportConfiguration: Sendable {
  public var connectTimeout: Duration = .seconds(10)
  /// No byte of the head for this long: the attempt is given up and tried on another connection.
  public var firstByteTimeout: Duration = .seconds(20)
  /// Less than 1 KiB/s for this long: stalled.
  public var stallTimeout: Duration = .seconds(10)
  /// Attempts in a row that brought no byte. With 10 a store that is gone for 20 s would be given up
  /// in one of three cases, before any deadline: 16 span 85 s in the mean.
  public var maxAttempts: Int = 16
  /// While no request succeeds at all, the deadline alone ends the attempts.
  public var waitsWhileAway = false
  /// A store that is away for so long is named in the log, and again each time after so long.
  public var namesOutageAfter: Duration = .seconds(60)
  /// Silences are given up sooner than `firstByteTimeout` and `stallTimeout` where answers are mostly
  /// quick (`TTFBTracker`).
  public var adaptsTimeouts = true
  /// Requests sent a second at most; nil: as many as there are.
  public var maxRequestsPerSecond: Double? = nil
  /// Bytes received a second at most.
  public var maxBytesPerSecond: Int? = nil
  /// Transfers running at once; fewer while the store throttles (`ConcurrencyLimit`); more wait in the transport's queue.
  public var maxConcurrentTransfers: Int = 128
  /// Exchanges started and not ended; one more fails.
  public var maxLiveExchanges: Int = 16_384
  /// Memory for bodies that are collected whole.
  public var bodyBudget = BodyBudget(limit: 128 << 20)
  /// Connections kept; at least as many as may run at once.
  public var maxIdleConnections: Int = 64
  /// PEM file that replaces the system's certificate authorities.
  public var caBundle: String? = nil
  /// PEM files of what is shown to a server that asks; the key may lie in the certificate's.
  public var clientCertificate: String? = nil
  public var clientKey: String? = nil
  public var userAgent: String = "millrace"
  /// A line for each attempt that ended, without secrets; nil: none is wanted.
  public var requestLog: (@Sendable (String) -> Void)?
  /// Asks a slow request a second time, within a budget of 2 %.
  public var hedges = true
  /// The addresses of a host's name, over which its connections are spread; nil leaves that to
  /// libcurl, which uses the first of them. Called on a thread of its own.
  public var lookUp: (@Sendable (_ name: String) -> [String])? = addresses(ofName:)
  /// Without a live exchange for this long, all connections are closed; servers mostly did so before.
  var closeIdleAfter: Duration = .seconds(30)
  public init() {}
}
