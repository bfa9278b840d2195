import Posix
import SystemPackage

/// The threads on which a server's requests are answered.
///
/// They are the server's own: the threads of the Swift runtime are as many as there are cores, and whatever blocks
/// one of them would hold up each response. Jobs are at most one for each request in flight. The threads end with
/// the last reference, which a task holds as long as it runs.
final class AnsweringThreads: TaskExecutor {
  private struct State {
    var jobs: [UnownedJob] = []
    var isStopping = false
  }

  private let state: Monitor<State>

  /// Throws EAGAIN where the machine has no thread to give.
  init(named name: String, count: Int) throws(Errno) {
    let state = Monitor(State())
    self.state = state
    // Where a later one is missing, `deinit` ends those before it.
    let executor = asUnownedTaskExecutor()
    for number in 0..<count {
      let thread = try Thread.start(named: "\(name)-\(number)") {
        while let job = Self.next(state) { job.runSynchronously(on: executor) }
      }
      thread.detach()
    }
  }

  deinit { state.signal(all: true) { $0.isStopping = true } }

  func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    state.signal { $0.jobs.append(job) }
  }

  private static func next(_ state: Monitor<State>) -> UnownedJob? {
    let job = state.wait { state -> UnownedJob?? in
      if !state.jobs.isEmpty { return .some(state.jobs.removeFirst()) }
      return state.isStopping ? .some(nil) : nil
    }
    return job ?? nil
  }
}
