/// HTTP over libcurl: connections reused, retries bounded in number and in time. Stores hand it exchanges; it knows no
/// store.
///
/// **Parts.** `Exchange` is what a store writes: its next request, what a response means, its end. `TransferLoop` is the
/// thread that drives exchanges; others reach it by its `Mailbox`. `TransferScheduler` (in Scheduling/) is the value that
/// decides which exchange goes next, what is tried again and when, what is hedged and what is given up.
/// `TransferWire` (in Wire/) is libcurl: `Transfer` is one attempt, `CurlMulti` waits for sockets.
///
/// **Flow.** `start` posts an exchange to the mailbox. In each round the loop accepts what was posted, asks the scheduler
/// whom to admit and those exchanges for their requests, waits for sockets, and reports what came: heads, ends, alarms.
/// An exchange that has no request yet (`NextRequest.waiting`) is set aside until its `ReadinessSignal` is given.
///
/// **Promises.** An exchange ends exactly once, and by its deadline. Its methods are called from the loop's thread, one
/// after another, but for the end of one that could not be started. Body bytes are handed over where libcurl has them.
/// The only locks are those of the mailbox and of signals; nothing is called while one is held.
///
/// **Callers.** Stores, for all their requests; Credentials, for those to services that give credentials.
///
/// There is one loop. Nothing but `running()` relies on that: a loop has its own scheduler, wire and mailbox, tickets and
/// signals name their mailbox, and health and limits are reported by loop.
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

  /// Starts an exchange; it ends by `deadline`, and keeps to `limits` instead of the configuration's. Its calls come
  /// from the transport's thread, and it may start others or cancel from there.
  ///
  /// After `shutdown` it ends with `.cancelled` at once, on the caller's thread; with `.unreachable` where the
  /// machine has no thread or descriptor for the transport.
  @discardableResult
  public func start(
    _ exchange: any Exchange, deadline: Instant, limits: ExchangeLimits? = nil
  ) -> any FetchTicket {
    switch running() {
    case .failure(let error):
      exchange.finish(.failure(error))
      return EndedTicket()
    case .success(let running):
      let task = ExchangeTask(
        exchange, deadline: deadline, limits: limits ?? configuration.exchangeLimits,
        mailbox: running.mailbox)
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
