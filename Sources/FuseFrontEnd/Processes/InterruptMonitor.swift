import Glibc
import Posix
import SystemPackage

/// Answers requests whose caller was killed while they wait for the store. The kernel keeps a process
/// with a fatal signal until its request is answered, and the store may take until the deadline.
///
/// Not by FUSE_INTERRUPT: that comes once a request, at the first signal, which mostly is none that
/// kills; a read that ended then would be an error of its own.
final class InterruptMonitor: Sendable {
  private struct State {
    var waiting: [Weak] = []
    var isStopping = false
  }

  private struct Weak {
    weak var request: ParkedRequest?
    /// Was there at the last check: most requests are answered before a second.
    var isOld = false
  }

  /// Callers checked at once: each is a file of /proc. The others come at the next check.
  private static let checksMax = 64

  /// A killed caller waits for so long at most.
  static let interval: Duration = .milliseconds(50)

  private let state = Monitor(State())

  /// It holds nothing but its list, so no thread needs to wait for its end.
  private let thread: ServiceThread

  init() {
    thread = ServiceThread(named: "callers") { [state] in InterruptMonitor.run(state) }
    thread.ensure()
  }

  deinit { stop() }

  /// No request is answered from now on.
  func stop() {
    state.signal { $0.isStopping = true }
    thread.stop()
  }

  /// Without a thread the request simply waits for its answer.
  func add(_ request: ParkedRequest) {
    thread.ensure()
    state.signal { $0.waiting.append(Weak(request: request)) }
  }

  private static func run(_ state: Monitor<State>) {
    while true {
      let goesOn = state.wait { state -> Bool? in
        if state.isStopping { return false }
        return state.waiting.isEmpty ? nil : true
      }
      guard goesOn == true else { return }
      usleep(UInt32(interval.milliseconds * 1000))
      // Strong references end outside the lock: the last one of a request answers it.
      let requests = state.withLock { state in
        state.waiting.removeAll { $0.request?.isPending != true }
        // The old ones stand first; those that are checked go behind them.
        let old = state.waiting.prefix { $0.isOld }
        let checked = old.prefix(checksMax)
        state.waiting = Array(
          old.dropFirst(checksMax) + checked + state.waiting.dropFirst(old.count))
        for index in state.waiting.indices { state.waiting[index].isOld = true }
        return checked.compactMap(\.request)
      }
      var fates: [pid_t: Bool] = [:]
      for request in requests {
        let isKilled = fates[request.caller] ?? hasFatalSignal(request.caller)
        fates[request.caller] = isKilled
        if isKilled { request.giveUp() }
      }
    }
  }

  /// SIGKILL is pending in the thread: the kernel puts it there for every signal that ends a process.
  /// False where that cannot be seen (another pid namespace, hidepid): the request then waits.
  static func hasFatalSignal(_ thread: pid_t) -> Bool {
    guard thread > 0, let text = readSmallFile("/proc/\(thread)/status", atMost: 4096),
      let line = text.split(separator: "\n").first(where: { $0.hasPrefix("SigPnd:") }),
      let signals = UInt64(line.dropFirst(7).filter(\.isHexDigit), radix: 16)
    else { return false }
    return signals & (1 << UInt64(SIGKILL - 1)) != 0
  }
}
