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
    /// Was there at the last look: most requests are answered before a second one.
    var isOld = false
  }

  /// ProcessRegistry looked at in one go: each is a file of /proc. The others have their turn at the next.
  private static let mostLooks = 64

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
      // Strong references are let go outside the lock: the last one of a request answers it.
      let requests = state.withLock { state in
        state.waiting.removeAll { $0.request?.isPending != true }
        // The old ones stand first; those looked at go behind them.
        let old = state.waiting.prefix { $0.isOld }
        let looked = old.prefix(mostLooks)
        state.waiting = Array(
          old.dropFirst(mostLooks) + looked + state.waiting.dropFirst(old.count))
        for index in state.waiting.indices { state.waiting[index].isOld = true }
        return looked.compactMap(\.request)
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
    guard thread > 0 else { return false }
    let file = open("/proc/\(thread)/status", O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return false }
    defer { close(file) }
    return withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 4096) { buffer in
      let count = read(file, buffer.baseAddress, buffer.count)
      guard count > 0 else { return false }
      let text = String(decoding: buffer[..<count], as: UTF8.self)
      guard let line = text.split(separator: "\n").first(where: { $0.hasPrefix("SigPnd:") }),
        let signals = UInt64(line.dropFirst(7).filter(\.isHexDigit), radix: 16)
      else { return false }
      return signals & (1 << UInt64(SIGKILL - 1)) != 0
    }
  }
}
