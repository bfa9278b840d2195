import Glibc
import Posix
import Testing

/// Runs the tests of a suite side by side, so many at once and each on a thread of its own.
///
/// A mount test blocks: it waits for servers, daemons and readers. Swift's own threads are as many as there are
/// cores, and every other test needs them; so a mount test does not run on them.
struct Lanes: SuiteTrait, TestTrait, TestScoping {
  let isRecursive = true

  /// Two cores have time for three: a mount test waits about as much as it computes.
  /// MILLRACE_TEST_LANES=1 runs one test after the other.
  private static let lanes = FreeLanes(
    getenv("MILLRACE_TEST_LANES").flatMap { Int(String(cString: $0)) }
      ?? min(max(sysconf(Int32(_SC_NPROCESSORS_ONLN)) + 1, 2), 8))

  /// MILLRACE_TEST_SECONDS=1 prints what each test took in its lane, without its wait for one: what the
  /// testing library prints has the wait, too.
  private static let printsSeconds = getenv("MILLRACE_TEST_SECONDS") != nil

  func provideScope(
    for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
  ) async throws {
    let lane = await Self.lanes.take()
    let start = Instant.now
    defer {
      if Self.printsSeconds { print("lane: \(test.name) \(Instant.now - start)") }
      Self.lanes.give(lane)
    }
    try await withTaskExecutorPreference(lane) { try await function() }
  }
}

extension Trait where Self == Lanes {
  static var lanes: Self { Lanes() }
}

/// A thread that runs one test at a time.
private final class Lane: TaskExecutor {
  private let thread: WorkerPool

  init(_ number: Int) { thread = WorkerPool(named: "lane-\(number)", threads: 1) }

  func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    let executor = asUnownedTaskExecutor()
    let isTaken = thread.submit { job.runSynchronously(on: executor) }
    precondition(isTaken, "the lane's queue is full")
  }
}

/// The lanes that run no test, and the tests that wait for one: first come, first served.
private final class FreeLanes: Sendable {
  private struct State {
    var free: [Lane]
    var waiting: [CheckedContinuation<Lane, Never>] = []
  }

  private let state: Lock<State>

  init(_ count: Int) { state = Lock(State(free: (0..<max(1, count)).map { Lane($0) })) }

  func take() async -> Lane {
    await withCheckedContinuation { continuation in
      let lane = state.withLock { state -> Lane? in
        if state.free.isEmpty { state.waiting.append(continuation) }
        return state.free.popLast()
      }
      if let lane { continuation.resume(returning: lane) }
    }
  }

  func give(_ lane: Lane) {
    let next = state.withLock { state -> CheckedContinuation<Lane, Never>? in
      if state.waiting.isEmpty { state.free.append(lane) }
      return state.waiting.isEmpty ? nil : state.waiting.removeFirst()
    }
    next?.resume(returning: lane)
  }
}
