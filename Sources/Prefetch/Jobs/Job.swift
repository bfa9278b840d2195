import FileSystem
import Metrics
import ObjectStore
import Posix
import ReadEngine
import SystemPackage

/// Something done to many files, on a thread of the board, with a report that can be looked at meanwhile.
final class Job: Sendable {
  struct State {
    var report: JobReport
    var isCancelled = false
    var isOver = false
    var ended: Instant?
    var load = LoadProgress()
  }

  /// Without its paths, which are kept only while they are needed.
  let request: JobRequest
  private let paths: Lock<[[UInt8]]>
  /// What they occupy, counted until the job is over.
  let pathBytes: Int
  let fileSystem: FileSystem
  let engine: ReadEngine
  let metrics: Metrics
  let state: Monitor<State>
  private let began = Instant.now

  init(
    _ id: String, _ request: JobRequest, _ fileSystem: FileSystem, _ engine: ReadEngine,
    _ metrics: Metrics
  ) {
    paths = Lock(request.paths)
    pathBytes = request.pathBytes
    var request = request
    request.paths = []
    self.request = request
    self.fileSystem = fileSystem
    self.engine = engine
    self.metrics = metrics
    state = Monitor(State(report: JobReport(id: id, action: request.action)))
  }

  var report: JobReport {
    state.withLock { state in
      var report = state.report
      report.seconds = ((state.ended ?? .now) - began).seconds
      return report
    }
  }

  var isOver: Bool { state.withLock { $0.isOver } }
  var isCancelled: Bool { state.withLock { $0.isCancelled } }

  /// By threads that are there already. False: there is none, and the job does not run.
  func start(on runners: WorkerPool, counting counters: WorkerPool) -> Bool {
    guard runners.submit({ [self] in run() }) else { return false }
    // What there is to do in all is only worth a second walk where there is much to wait for. Without a
    // thread it is not known until the end.
    if request.action == .warm { _ = counters.submit { [self] in count() } }
    return true
  }

  func cancel() {
    state.signal(all: true) { if !$0.isOver { $0.isCancelled = true } }
  }

  private func run() {
    waitForCacheIndex()
    let load = JobLoad(self)
    let paths = paths.withLock { $0 }
    defer { self.paths.withLock { $0 = [] } }
    if request.action == .evict { engine.letGo() }
    if let reason = impossibility {
      for path in paths { fail(path, reason) }
    } else {
      let files = JobFiles(fileSystem, paths, isStopped: { [self] in isCancelled })
      while let slice = files.next() {
        for file in slice where !isCancelled { act(on: file, load) }
        for failure in files.takeFailures() { fail(failure.path, failure.reason) }
      }
      for failure in files.takeFailures() { fail(failure.path, failure.reason) }
      load.finish()
      // All of the store: what is gone from it is let go of too, which no path leads to.
      if request.action == .unpin, paths.contains([]), fileSystem.rootFolder.bytes.isEmpty,
        !isCancelled
      {
        engine.unpinAll()
      }
      if request.action == .pin || request.action == .unpin { engine.savePins() }
    }
    state.signal(all: true) { state in
      state.report.state =
        state.isCancelled ? .cancelled : state.report.failures > 0 ? .failed : .done
      if !state.isCancelled { state.report.isTotalFinal = true }
      state.isOver = true
      state.ended = .now
    }
  }

  /// Right after a mount the cache's index is still being read: a job before its end would miss files.
  private func waitForCacheIndex() {
    while !isCancelled, !engine.waitUntilCacheIsCounted(by: .now + .milliseconds(200)) {}
  }

  private var impossibility: String? {
    guard request.action == .pin, !engine.hasDisk else { return nil }
    return "the mount has no disk cache to pin it in"
  }

  private func count() {
    let paths = paths.withLock { $0 }
    // The job asks for sizes that listings do not have: this does not ask a second time.
    let files = JobFiles(
      fileSystem, paths, asksSizes: false, isStopped: { [self] in isOver || isCancelled })
    var sized = 0
    var bytes: UInt64 = 0
    while let slice = files.next() {
      sized += slice.count
      let count = sized + files.unsized
      for file in slice { bytes.addSaturated(file.size) }
      state.withLock { state in
        state.report.files = max(state.report.files, count)
        state.report.bytes = max(state.report.bytes, bytes)
      }
    }
    if !isOver, !isCancelled, files.unsized == 0 {
      state.withLock { $0.report.isTotalFinal = true }
    }
  }

  private func act(on file: ObjectVersion, _ load: JobLoad) {
    switch request.action {
    case .warm: load.take(file)
    case .pin, .unpin:
      let isNews = engine.pin(file, request.action == .pin)
      done(file) { $0.filesChanged += isNews ? 1 : 0 }
    case .evict: evict(file)
    case .du:
      let held = engine.holding(of: file)
      done(file) { report in
        report.bytesInMemory.addSaturated(held.memory)
        report.bytesOnDisk.addSaturated(held.disk)
        report.filesOnDisk += held.disk > 0 ? 1 : 0
        report.filesPinned += held.isPinned ? 1 : 0
        report.bytesPinned.addSaturated(held.isPinned ? held.disk : 0)
      }
    }
  }

  private func evict(_ file: ObjectVersion) {
    let held = engine.holding(of: file)
    if held.disk == 0, held.memory == 0 { return done(file) }
    if held.isPinned { return fail(file, "it is pinned: unpin it first") }
    guard let freed = engine.evict(file) else { return fail(file, "it is open") }
    done(file) { report in
      report.filesChanged += 1
      report.bytesFreed.addSaturated(freed)
    }
  }

  // MARK: The report

  func done(_ file: ObjectVersion, _ change: (inout JobReport) -> Void = { _ in }) {
    state.withLock { state in
      state.report.filesDone += 1
      state.report.bytesDone.addSaturated(file.size)
      state.report.files = max(state.report.files, state.report.filesDone)
      state.report.bytes = max(state.report.bytes, state.report.bytesDone)
      change(&state.report)
    }
  }

  func fail(_ file: ObjectVersion, _ reason: String) {
    fail(fileSystem.path(ofKey: file.key), reason)
  }

  func fail(_ path: [UInt8], _ reason: String) {
    state.withLock { state in
      state.report.failures += 1
      guard state.report.failureList.count < JobReport.mostFailures else { return }
      state.report.failureList.append(
        JobReport.Failure(path: String(decoding: path, as: UTF8.self), reason: reason))
    }
  }
}
