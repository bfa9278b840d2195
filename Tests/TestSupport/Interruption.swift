import Glibc
import Posix

/// Ctrl-C and SIGTERM for programs that have things to take down (demo, benchmarks).
///
/// The first one ends the command that runs and makes `check` throw; so the program leaves by its
/// ordinary way out, and what it owns is ended in order. A second one ends the program at once;
/// the kernel then ends its children.
public enum Interruption {
  private struct State {
    var signal: CInt?
    var command: ChildProcess?
  }
  private static let state = Lock(State())

  /// Call it once, first, from the main thread: other threads inherit the blocked signals.
  public static func watch() {
    var signals = sigset_t()
    sigemptyset(&signals)
    for number in [SIGINT, SIGTERM, SIGHUP] { sigaddset(&signals, number) }
    pthread_sigmask(SIG_BLOCK, &signals, nil)
    _ = Posix.Thread(named: "signals") {
      while true {
        var waited = sigset_t()
        sigemptyset(&waited)
        for number in [SIGINT, SIGTERM, SIGHUP] { sigaddset(&waited, number) }
        var number: CInt = 0
        guard sigwait(&waited, &number) == 0 else { continue }
        let (isFirst, command) = state.withLock { state in
          defer { state.signal = number }
          return (state.signal == nil, state.command)
        }
        if !isFirst { _exit(128 + number) }
        printError("\ninterrupted: cleaning up")
        command?.end(within: .seconds(5))
      }
    }
  }

  /// Throws once a signal has come.
  public static func check() throws {
    if let number = state.withLock({ $0.signal }) {
      throw SupportError("interrupted by signal \(number)")
    }
  }

  /// Runs a command with this program's own output, to its end or to an interruption.
  public static func run(
    _ command: [String], environment: [String: String] = [:],
    streams: ChildProcess.Streams = ChildProcess.Streams(), within: Duration
  ) throws {
    try check()
    let child = try ChildProcess(command, environment: environment, streams: streams)
    state.withLock { $0.command = child }
    defer { state.withLock { $0.command = nil } }
    let ending = child.wait(within: within)
    child.end()
    try check()
    guard let ending else {
      throw SupportError("\(command.joined(separator: " ")) did not end within \(within)")
    }
    guard ending == .exited(0) else {
      throw SupportError("\(command.joined(separator: " ")) failed: \(ending)")
    }
  }
}
