import Synchronization
public import SystemPackage

/// The thread of a part that lives as long as the mount. Where the machine has none to give (pids.max,
/// RLIMIT_NPROC, memory), it is started again by the next call of `ensure`: the part refuses its work
/// meanwhile, and recovers.
public final class ServiceThread: Sendable {
  private enum Phase {
    /// The body is given away with the start: it ends when the thread does.
    case missing(@Sendable () -> Void)
    case running(Thread)
    case ended
  }

  private let name: String
  private let start: Thread.Starter
  private let phase: Lock<Phase>
  private let isRunning = Atomic(false)

  /// Starts nothing yet. `name`: at most 15 bytes.
  public init(
    named name: String, start: @escaping Thread.Starter = Thread.start,
    _ body: @escaping @Sendable () -> Void
  ) {
    self.name = name
    self.start = start
    phase = Lock(.missing(body))
  }

  /// Starts the thread unless it has been. Costs a load where it has. Returns why there is none: EAGAIN
  /// mostly; ECANCELED once `stop` was called.
  @discardableResult
  public func ensure() -> Errno? {
    if isRunning.load(ordering: .acquiring) { return nil }
    return phase.withLock { phase in
      switch phase {
      case .running: return nil
      case .ended: return .canceled
      case .missing(let body):
        do throws(Errno) {
          phase = .running(try start(name, body))
          isRunning.store(true, ordering: .releasing)
          return nil
        } catch {
          return error
        }
      }
    }
  }

  /// No thread is started from now on. Returns the one there is: the caller has made its body end and joins
  /// it, or leaves it to end by itself.
  @discardableResult
  public func stop() -> Thread? {
    phase.withLock { phase in
      defer { phase = .ended }
      guard case .running(let thread) = phase else { return nil }
      return thread
    }
  }
}
