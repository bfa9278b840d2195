import CFuseShim
import Glibc
import Logging
import Posix

/// libfuse prints to standard error by itself; here its lines go to the mount's log, and while a
/// mount is tried, into the text of the error.
enum LibraryLog {
  private struct State {
    var log: Logger?
    /// Lines caught for the threads that are mounting, by thread.
    var captured: [pthread_t: [String]] = [:]
  }

  private static let state = Lock(State())

  /// Process-wide, as libfuse has it: with several mounts the last one's log gets the lines.
  static func route(to log: Logger) {
    state.withLock { $0.log = log }
    millrace_route_log { level, line in
      if let line { LibraryLog.receive(level: level, line: String(cString: line)) }
    }
  }

  /// Runs `body`, and gives the lines that libfuse logged on this thread meanwhile.
  static func capture<Value>(_ body: () -> Value) -> (Value, [String]) {
    let thread = pthread_self()
    state.withLock { $0.captured[thread] = [] }
    let value = body()
    return (value, state.withLock { $0.captured.removeValue(forKey: thread) } ?? [])
  }

  private static func receive(level: CInt, line: String) {
    let thread = pthread_self()
    let log: Logger? = state.withLock { state in
      guard state.captured[thread] == nil else {
        state.captured[thread]?.append(line)
        return nil
      }
      return state.log
    }
    // syslog's numbers: 3 is an error, 4 a warning.
    log?.log(level: level <= 4 ? .warning : level <= 6 ? .info : .debug, "libfuse: \(line)")
  }
}
