import CFuseShim
import Glibc
import Posix
import SystemPackage

/// The threads that take requests from the kernel. Each waits in a read of /dev/fuse, and does what
/// a request needs as far as that is possible without waiting for a store.
final class FuseLoop: Sendable {
  private struct State {
    var running: Set<pthread_t> = []
    var started: [Thread] = []
    var ended = 0
    var hasAllEnded: Bool { ended == started.count }
    /// When to cut the connection, once the end was requested.
    var deadline: Instant?
  }

  private let session: FuseSession
  private let threadCount: Int
  private let state = Monitor(State())

  /// A signal that no other code uses and that is ignored by default. It interrupts the read of a thread
  /// that must end although the kernel has no request for it.
  private static let wakeSignal = SIGURG

  init(_ session: FuseSession, threads: Int) {
    self.session = session
    threadCount = max(threads, 1)
  }

  /// Begins to serve, with fewer threads where the machine does not give as many. Throws where it gives none.
  func start() throws(Errno) {
    try state.withLock { state throws(Errno) in
      while state.started.count < threadCount {
        do throws(Errno) {
          let thread = try Thread.start(named: "fuse-\(state.started.count)") {
            [session, state = self.state] in
            FuseLoop.serve(session, state)
          }
          state.started.append(thread)
        } catch {
          if state.started.isEmpty { throw error }
          return
        }
      }
    }
  }

  /// After `start`. Returns when every thread has ended: after an unmount, or after the deadline of `stop`.
  /// `beforeCutting` is called while the threads still answer.
  func run(beforeCutting: () -> Void) {
    if !waitForEnd() {
      beforeCutting()
      cut()
    }
    // A thread that a disk holds back longer than that keeps what it needs alive by itself.
    let ended = state.withLock { $0.hasAllEnded ? $0.started : [] }
    for thread in ended { thread.join() }
  }

  func stop(by deadline: Instant) {
    state.signal(all: true) { $0.deadline = min($0.deadline ?? deadline, deadline) }
  }

  /// False: the deadline has passed, and threads are still there.
  private func waitForEnd() -> Bool {
    while true {
      let deadline = state.withLock { $0.deadline }
      let hasEnded: Bool? = state.wait(until: deadline) { state in
        if state.hasAllEnded { return true }
        return state.deadline != deadline ? false : nil  // a new deadline: wait for that one
      }
      switch hasEnded {
      case true?: return true
      case false?: continue
      case nil: return false
      }
    }
  }

  /// Ends the threads although the kernel holds on to the connection (files open in a detached
  /// mount). A signal may come between a thread's look at the session and its read: so it is sent
  /// until the thread is gone.
  private func cut() {
    fuse_session_exit(session.raw)
    FuseLoop.installWakeHandler()
    let givingUp = Instant.now + .seconds(10)
    while Instant.now < givingUp {
      // Under the lock, so that no thread ends between the look and the signal.
      state.withLock { for thread in $0.running { pthread_kill(thread, FuseLoop.wakeSignal) } }
      let ended: Void? = state.wait(until: Instant.now + .milliseconds(10)) {
        $0.hasAllEnded ? () : nil
      }
      if ended != nil { return }
    }
  }

  /// A handler that does nothing, without SA_RESTART: read returns EINTR.
  private static func installWakeHandler() {
    var action = sigaction()
    action.__sigaction_handler.sa_handler = { _ in }
    sigaction(wakeSignal, &action, nil)
  }

  private static func serve(_ session: FuseSession, _ state: Monitor<State>) {
    var signals = sigset_t()
    sigemptyset(&signals)
    sigaddset(&signals, wakeSignal)
    pthread_sigmask(SIG_UNBLOCK, &signals, nil)
    Scratch.prepareThisThread()
    state.withLock { _ = $0.running.insert(pthread_self()) }
    var failed = false
    // libfuse allocates the request's memory with the first request, and keeps it here.
    var buffer = fuse_buf()
    while fuse_session_exited(session.raw) == 0 {
      let size = fuse_session_receive_buf(session.raw, &buffer)
      if size == -EINTR || size == -EAGAIN || size == -ENOENT { continue }
      failed = size < 0
      guard size > 0 else { break }  // 0: unmounted
      fuse_session_process_buf(session.raw, &buffer)
    }
    // The others as well: a thread that ends on an error must not leave a half-served mount.
    if failed { state.signal(all: true) { $0.deadline = .now } }
    fuse_session_exit(session.raw)
    free(buffer.mem)
    state.signal(all: true) {
      $0.running.remove(pthread_self())
      $0.ended += 1
    }
  }
}
