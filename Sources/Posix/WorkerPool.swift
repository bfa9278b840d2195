import DequeModule

/// A few threads that take jobs from one bounded queue: for system calls that may sleep on a disk.
public final class WorkerPool: Sendable {
  private struct State {
    var jobs: Deque<@Sendable () -> Void> = []
    var isStopping = false
  }

  private let monitor = Monitor(State())
  private let threads: Lock<[Thread]>
  private let queueLimit: Int

  /// `queueLimit`: jobs that may wait; `submit` refuses one more.
  public init(named name: String, threads count: Int, queueLimit: Int = 65_536) {
    self.queueLimit = queueLimit
    threads = Lock([])
    let started = (0..<count).map { index in
      Thread(named: "\(name)-\(index)") { [monitor] in
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
    threads.withLock { $0 = started }
  }

  /// False: the queue is full or the pool stops; the job was not taken.
  public func submit(_ job: @escaping @Sendable () -> Void) -> Bool {
    monitor.signal { state in
      guard !state.isStopping, state.jobs.count < queueLimit else { return false }
      state.jobs.append(job)
      return true
    }
  }

  /// Runs the jobs that were taken, then joins the threads.
  public func shutdown() {
    monitor.signal(all: true) { $0.isStopping = true }
    let running = threads.withLock { threads in
      defer { threads = [] }
      return threads
    }
    for thread in running { thread.join() }
  }
}
