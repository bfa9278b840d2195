import Metrics
import ObjectStore
import Posix
import ReadEngine

/// What a load has under way; part of the job's state.
struct LoadProgress {
  struct Arrival {
    var file: ObjectVersion
    /// It had been dropped once because it did not verify.
    var isSecond: Bool
  }

  var underWay = 0
  var bytesUnderWay: UInt64 = 0
  /// All of it came; not yet seen to be where it should be.
  var arrived: [Arrival] = []
  /// Something has arrived since it was last waited for.
  var hasNews = false
}

/// Fetches the files of a job into the cache, a bounded number at a time, and sees that they are there.
///
/// Used by the job's thread alone; what comes back from the engine goes through the job's state.
final class JobLoad {
  private let job: Job
  private let engine: ReadEngine
  private let tick: Int64
  /// An order's first part fills the cache: the rest comes as it is read.
  private var isFull = false

  /// Between two looks at what has arrived.
  private static let rest = Duration.milliseconds(10)

  init(_ job: Job) {
    self.job = job
    engine = job.engine
    tick = job.request.action == .warm ? job.engine.beginLoad() : 0
  }

  func take(_ file: ObjectVersion) {
    if isFull { return leave() }
    if file.size == 0 { return job.done(file) }
    if isHeld(file) { return finish(LoadProgress.Arrival(file: file, isSecond: false)) }
    guard waitForTurn() else { return }
    guard makeRoom(for: file) else {
      if job.isCancelled { return }
      if job.request.isOrder {
        isFull = true
        return leave()
      }
      return job.fail(
        file, "the cache has no free space: raise --cache-size, or evict or unpin files")
    }
    fetch(file, isSecond: false)
  }

  /// Waits for what is under way.
  func finish() {
    while !job.isCancelled {
      settleArrivals()
      if job.state.withLock({ $0.load.underWay }) == 0 { return }
      wait()
    }
  }

  /// On disk: whole blocks, and the record of its pieces beside it.
  private static func footprint(_ file: ObjectVersion) -> UInt64 {
    (file.size + file.size / 4096 + 3 * 4096 - 1) / 4096 * 4096
  }

  private func leave() { job.state.withLock { $0.report.filesLeft += 1 } }

  private func isHeld(_ file: ObjectVersion) -> Bool {
    let held = engine.holding(of: file)
    return !held.isMoving && engine.isWhole(file, as: held)
  }

  private func fetch(_ file: ObjectVersion, isSecond: Bool) {
    job.state.withLock { state in
      state.load.underWay += 1
      state.load.bytesUnderWay.addSaturated(Self.footprint(file))
    }
    engine.prefetch(file, .planned) { [job] outcome in
      switch outcome {
      case .fetched(let bytes):
        if bytes > 0 {
          job.metrics.prefetch.warmedFiles.add()
          job.metrics.prefetch.warmedBytes.add(bytes)
        }
        job.state.signal { state in
          state.load.arrived.append(LoadProgress.Arrival(file: file, isSecond: isSecond))
          state.load.hasNews = true
          state.report.filesFetched += bytes > 0 ? 1 : 0
          state.report.bytesFetched.addSaturated(bytes)
        }
      case .failed(let error):
        job.fail(file, "\(error)")
        job.state.signal { state in
          state.load.underWay -= 1
          state.load.bytesUnderWay.subtractSaturated(Self.footprint(file))
        }
      }
    }
  }

  /// False: cancelled.
  private func waitForTurn() -> Bool {
    while !job.isCancelled {
      settleArrivals()
      if job.state.withLock({ $0.load.underWay }) < job.request.width { return true }
      wait()
    }
    return false
  }

  /// Room for what is under way as well: some of it is on disk already, so this errs to the safe side until
  /// nothing is under way.
  private func makeRoom(for file: ObjectVersion) -> Bool {
    while !job.isCancelled {
      let pending = job.state.withLock { $0.load.bytesUnderWay }
      if engine.makeRoom(Self.footprint(file).addingSaturated(pending), forLoadBegunAt: tick) {
        return true
      }
      if pending == 0 { return false }
      wait()
      settleArrivals()
    }
    return false
  }

  private func wait() {
    let enough = job.request.width / 4
    let _: Void? = job.state.wait(until: .now + Self.rest) { state in
      guard state.isCancelled || state.load.hasNews && state.load.arrived.count > enough else {
        return nil
      }
      state.load.hasNews = false
      return ()
    }
  }

  private func settleArrivals() {
    let arrived = job.state.withLock { state in
      defer { state.load.arrived = [] }
      return state.load.arrived
    }
    for arrival in arrived {
      let held = engine.holding(of: arrival.file)
      if held.isMoving {
        job.state.withLock { $0.load.arrived.append(arrival) }
        continue
      }
      job.state.withLock { state in
        state.load.underWay -= 1
        state.load.bytesUnderWay.subtractSaturated(Self.footprint(arrival.file))
      }
      // It is not on its way any more: is it here?
      guard engine.isWhole(arrival.file, as: held) else {
        job.fail(
          arrival.file,
          "fetched but not cached: the cache is full of pinned or open files, or writing to disk failed (see the log)"
        )
        continue
      }
      finish(arrival)
    }
  }

  /// It is here: is it right?
  private func finish(_ arrival: LoadProgress.Arrival) {
    let file = arrival.file
    guard job.request.verifies, engine.hasDisk else { return job.done(file) }
    let dropped = engine.verify(file, isStopped: { job.isCancelled })
    if job.isCancelled { return }
    if dropped == 0 { return job.done(file) }
    job.state.withLock { $0.report.bytesDropped.addSaturated(dropped) }
    if arrival.isSecond { return job.fail(file, "cached data cannot be read back") }
    fetch(file, isSecond: true)
  }
}
