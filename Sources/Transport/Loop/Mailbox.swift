import Posix

/// What other threads ask of the transport's thread.
final class Mailbox: ReadinessObserver {
  struct Batch {
    var started: [ExchangeTask] = []
    /// Over the limit: to be refused, on the transport's thread like every other end.
    var refused: [ExchangeTask] = []
    var cancelled: [ExchangeTask] = []
    var lookedUp: [(host: HostAddressPool.Host, addresses: [String])] = []
    /// Signals that exchanges wait for and that were given.
    var signals: [ObjectIdentifier] = []
    var isStopping = false
  }

  private struct State {
    var batch = Batch()
    /// Started and not ended.
    var live = 0
    /// The thread waits, or is about to: only then is a wake-up (a system call) needed.
    var isAsleep = false
  }

  let wakeUp: WakeUp
  private let limit: Int
  private let state = Lock(State())

  /// `limit`: exchanges that may be live, running or waiting.
  init(limit: Int, wakeUp: WakeUp) {
    self.limit = limit
    self.wakeUp = wakeUp
  }

  /// False: the transport has stopped, no thread will look at the task.
  func start(_ task: ExchangeTask) -> Bool {
    post { state in
      guard !state.batch.isStopping else { return false }
      if state.live < limit {
        state.live += 1
        state.batch.started.append(task)
      } else {
        state.batch.refused.append(task)
      }
      return true
    }
  }

  func cancel(_ task: ExchangeTask) {
    _ = post { state in
      guard !state.batch.isStopping else { return false }
      state.batch.cancelled.append(task)
      return true
    }
  }

  /// What a name has; called by the thread that looked it up.
  func lookedUp(_ host: HostAddressPool.Host, _ addresses: [String]) {
    _ = post { state in
      guard !state.batch.isStopping else { return false }
      state.batch.lookedUp.append((host, addresses))
      return true
    }
  }

  /// A signal that exchanges of this loop wait for was given.
  func signalled(_ signal: ObjectIdentifier) {
    _ = post { state in
      guard !state.batch.isStopping else { return false }
      state.batch.signals.append(signal)
      return true
    }
  }

  func stop() {
    _ = post { state in
      state.batch.isStopping = true
      return true
    }
  }

  func taskEnded() { state.withLock { $0.live -= 1 } }

  /// Everything that came since the last call.
  func drain() -> Batch {
    state.withLock { state in
      state.isAsleep = false
      let batch = state.batch
      state.batch = Batch(isStopping: batch.isStopping)
      return batch
    }
  }

  /// False: there is post; do not wait.
  func prepareToSleep() -> Bool {
    state.withLock { state in
      let batch = state.batch
      state.isAsleep =
        batch.started.isEmpty && batch.refused.isEmpty && batch.cancelled.isEmpty
        && batch.lookedUp.isEmpty && batch.signals.isEmpty && !batch.isStopping
      return state.isAsleep
    }
  }

  private func post(_ change: (inout State) -> Bool) -> Bool {
    let (isAccepted, wakes) = state.withLock { state in
      let isAccepted = change(&state)
      defer { if isAccepted { state.isAsleep = false } }
      return (isAccepted, isAccepted && state.isAsleep)
    }
    if wakes { wakeUp.wake() }
    return isAccepted
  }
}
