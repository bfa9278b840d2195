import DequeModule
import SystemPackage

/// A few threads that take jobs from one bounded queue: for system calls that may sleep on a disk.
///
/// They are started with the pool. Those that the machine does not give then are tried again with each job;
/// while there is none at all, jobs are refused.
public final class WorkerPool: Sendable {
  private struct State {
    var jobs: Deque<@Sendable () -> Void> = []
    var threads: [Thread] = []
    var isStopping = false
  }

  private let monitor = Monitor(State())
  private let name: String
  private let count: Int
  private let queueLimit: Int
  private let start: Thread.Starter

  /// `queueLimit`: jobs that may wait; `submit` refuses one more.
  public init(
    named name: String, threads count: Int, queueLimit: Int = 65_536,
    start: @escaping Thread.Starter = Thread.start
  ) {
    self.name = name
    self.count = count
    self.queueLimit = queueLimit
    self.start = start
    monitor.withLock { addThreads(&$0) }
  }

  /// False: the queue is full, the pool stops, or there is no thread; the job was not taken.
  public func submit(_ job: @escaping @Sendable () -> Void) -> Bool {
    monitor.signal { state in
      guard !state.isStopping, state.jobs.count < queueLimit else { return false }
      if state.threads.count < count { addThreads(&state) }
      guard !state.threads.isEmpty else { return false }
      state.jobs.append(job)
      return true
    }
  }

  /// Runs the jobs that were taken, then joins the threads.
  public func shutdown() {
    for thread in end(dropping: false) { thread.join() }
  }

  /// Drops the jobs that wait and waits for nothing: each thread ends with the job that it is in.
  public func abandon() { _ = end(dropping: true) }

  private func end(dropping: Bool) -> [Thread] {
    let (threads, dropped) = monitor.signal(all: true) { state in
      state.isStopping = true
      defer {
        state.threads = []
        if dropping { state.jobs = [] }
      }
      return (state.threads, dropping ? state.jobs : [])
    }
    // What the jobs hold goes outside the lock.
    withExtendedLifetime(dropped) {}
    return threads
  }

  private func addThreads(_ state: inout State) {
    while state.threads.count < count {
      let name = "\(name)-\(state.threads.count)"
      guard let thread = try? start(name, { [monitor] in Self.work(monitor) }) else { return }
      state.threads.append(thread)
    }
  }

  private static func work(_ monitor: Monitor<State>) {
    while true {
      let job: (@Sendable () -> Void)?? = monitor.wait { state in
        if let job = state.jobs.popFirst() { return .some(job) }
        return state.isStopping ? .some(nil) : nil
      }
      guard let job, let job else { return }
      job()
    }
  }
}
