import FileSystem
import Metrics
import Posix
import ReadEngine
import SystemPackage

/// The jobs of a mount: those that run, and the last ones that are over.
final class JobBoard: Sendable {
  private struct State {
    var jobs: [Job] = []
    var count = 0
    var isStopping = false

    var refusal: JobRefusal? {
      if isStopping { return JobRefusal(.stopping, "the mount is being unmounted") }
      guard jobs.count(where: { !$0.isOver }) >= JobBoard.mostRunning else { return nil }
      return JobRefusal(
        .busy, "\(JobBoard.mostRunning) jobs are running; wait for one or cancel one")
    }

    /// Of the paths that running jobs hold, bytes.
    var pathBytes: Int { jobs.reduce(0) { $0 + ($1.isOver ? 0 : $1.pathBytes) } }
  }

  private static let mostRunning = 8
  private static let mostKept = 64
  /// Bytes that the paths of all running jobs may occupy.
  private static let mostPathBytes = 1 << 30

  private let state = Lock(State())
  /// Started with the mount: a job needs no new thread.
  private let runners = WorkerPool(named: "job", threads: mostRunning, queueLimit: mostRunning)
  private let counters = WorkerPool(named: "job-count", threads: 1, queueLimit: mostRunning)

  func start(
    _ request: JobRequest, _ fileSystem: FileSystem, _ engine: ReadEngine, _ metrics: Metrics
  ) throws(JobRefusal) -> Job {
    try state.withLock { state throws(JobRefusal) in
      if let refusal = state.refusal { throw refusal }
      guard state.pathBytes + request.pathBytes <= Self.mostPathBytes else {
        throw JobRefusal(
          .busy,
          "the paths of running jobs use all of \(Self.mostPathBytes >> 20) MiB; wait for a job to end, or give directories"
        )
      }
      state.count += 1
      let job = Job(String(state.count), request, fileSystem, engine, metrics)
      guard job.start(on: runners, counting: counters) else {
        throw JobRefusal(
          .busy,
          "cannot start a thread for the job; \(Errno.resourceTemporarilyUnavailable.limitAdvice)"
        )
      }
      state.jobs.append(job)
      while state.jobs.count > Self.mostKept, let over = state.jobs.firstIndex(where: \.isOver) {
        state.jobs.remove(at: over)
      }
      return job
    }
  }

  /// Throws if a job would be refused now.
  func checkRoom() throws(JobRefusal) {
    if let refusal = state.withLock({ $0.refusal }) { throw refusal }
  }

  func job(_ id: String) -> Job? { state.withLock { $0.jobs.first { $0.report.id == id } } }

  var reports: [JobReport] { state.withLock { $0.jobs }.map(\.report) }

  func shutdown() {
    let jobs = state.withLock { state in
      state.isStopping = true
      return state.jobs
    }
    for job in jobs { job.cancel() }
    runners.shutdown()
    counters.shutdown()
  }
}
