import FileSystem
import Metrics
import Posix
import ReadEngine

/// The jobs of a mount: those that run, and the last ones that are over.
final class JobBoard: Sendable {
  private struct State {
    var jobs: [Job] = []
    var count = 0
    var isStopping = false
  }

  private static let mostRunning = 8
  private static let mostKept = 64

  private let state = Lock(State())

  func start(
    _ request: JobRequest, _ fileSystem: FileSystem, _ engine: ReadEngine, _ metrics: Metrics
  ) throws(JobRefusal) -> Job {
    let job: Job? = state.withLock { state in
      let running = state.jobs.count { !$0.isOver }
      guard running < Self.mostRunning, !state.isStopping else { return nil }
      state.count += 1
      let job = Job(String(state.count), request, fileSystem, engine, metrics)
      state.jobs.append(job)
      while state.jobs.count > Self.mostKept, let over = state.jobs.firstIndex(where: \.isOver) {
        state.jobs.remove(at: over)
      }
      job.start()
      return job
    }
    guard let job else {
      throw JobRefusal(
        description: "\(Self.mostRunning) jobs are running: wait for one, or cancel one")
    }
    return job
  }

  func job(_ id: String) -> Job? { state.withLock { $0.jobs.first { $0.report.id == id } } }

  var reports: [JobReport] { state.withLock { $0.jobs }.map(\.report) }

  func shutdown() {
    let jobs = state.withLock { state in
      state.isStopping = true
      return state.jobs
    }
    for job in jobs { job.cancel() }
    for job in jobs { job.join() }
  }
}
