import FuseFrontEnd
import Glibc
import Posix
import SystemPackage

/// SIGINT, SIGTERM and SIGHUP unmount; a second one ends at once. SIGUSR1 and SIGUSR2 are ignored.
final class StopSignals: Sendable {
  private enum State {
    /// Nothing is mounted: a signal simply ends the process.
    case before
    /// The mount is being made: it is taken away as soon as it is there.
    case mounting(stopped: Bool)
    case mounted(FuseFrontEnd, stopped: Bool)
  }

  private let state = Lock(State.before)
  /// What is to be unmounted, for the thread that waits for it.
  private let leaving = Monitor<FuseFrontEnd?>(nil)

  /// In the main thread before any other is started: threads inherit the mask.
  static func block() {
    // Batch systems send these to all processes of a job (Slurm's --signal); they would end a mount in use.
    for number in [SIGUSR1, SIGUSR2] { signal(number, SIG_IGN) }
    var set = StopSignals.set()
    pthread_sigmask(SIG_BLOCK, &set, nil)
  }

  static func set() -> sigset_t {
    var set = sigset_t()
    sigemptyset(&set)
    for signal in [SIGINT, SIGTERM, SIGHUP] { sigaddset(&set, signal) }
    return set
  }

  /// `lifeline`: a pipe whose end counts as a signal. The threads live as long as the process: an unmount
  /// needs no new one. Throws where the machine does not give them.
  func listen(lifeline: CInt?) throws(Failure) {
    do throws(Errno) { try startThreads(lifeline) } catch {
      throw Failure("cannot start the threads that hear signals: \(error); \(error.limitAdvice)")
    }
  }

  private func startThreads(_ lifeline: CInt?) throws(Errno) {
    // On a thread of its own, so that the second signal is heard.
    _ = try Thread.start(named: "unmount") { [leaving] in
      leaving.wait { $0 }?.unmount()
    }
    _ = try Thread.start(named: "signals") { [self] in
      var set = StopSignals.set()
      var number: CInt = 0
      while true {
        if sigwait(&set, &number) == 0 { stop(number) }
      }
    }
    guard let lifeline else { return }
    _ = try Thread.start(named: "lifeline") { [self] in
      var byte: UInt8 = 0
      while read(lifeline, &byte, 1) < 0 && errno == EINTR {}
      stop(SIGTERM)
    }
  }

  func mountBegins() { state.withLock { $0 = .mounting(stopped: false) } }

  func mountIs(_ frontEnd: FuseFrontEnd) {
    let stopped = state.withLock { state in
      var stopped = false
      if case .mounting(let already) = state { stopped = already }
      state = .mounted(frontEnd, stopped: stopped)
      return stopped
    }
    if stopped { unmountAside(frontEnd) }
  }

  private func stop(_ number: CInt) {
    let frontEnd: FuseFrontEnd? = state.withLock { state in
      switch state {
      case .before: _exit(128 + number)
      case .mounting:
        state = .mounting(stopped: true)
        return nil
      case .mounted(let frontEnd, let stopped):
        state = .mounted(frontEnd, stopped: true)
        return stopped ? nil : frontEnd
      }
    }
    if let frontEnd {
      unmountAside(frontEnd)
    } else if case .mounted = state.withLock({ $0 }) {
      // The mount is detached already; what still has a file open gets ENOTCONN.
      _exit(128 + number)
    }
  }

  private func unmountAside(_ frontEnd: FuseFrontEnd) {
    leaving.signal(all: true) { $0 = frontEnd }
  }
}
