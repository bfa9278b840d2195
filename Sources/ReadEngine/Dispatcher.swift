/// Sends fetches to the store: promises each its memory first, so that arriving bytes always have a
/// place, and keeps what is in flight bounded.
import Logging
import Metrics
import ObjectStore
import Posix
import Synchronization

final class Dispatcher: Sendable {
  private struct State {
    var schedule: FetchSchedule<ObjectFetch>
    var estimate: LinkEstimate
    var pace: FillPace
    /// The folder of the set that is being filled.
    var filling: ObjectKey?
    /// One thread at a time hands out turns; another that has news leaves it here.
    var isPumping = false
    var pumpAgain = false
    var isStopped = false
  }

  private let store: any ObjectStore
  private let pool: BlockPool
  private let memory: MemoryTier
  private let ioTimeout: Duration
  private let state: Lock<State>
  private let range: Atomic<Int>
  private let connections: Atomic<Int>
  private let window: Atomic<Int>
  private let pipe = Atomic(0)
  private let maxWindow: Int

  /// Connections that one sequence may be given.
  private static let mostForASequence = 64

  /// Blocks that read-ahead leaves to demand: a quarter of the pool.
  private var reservedForDemand: Int { pool.capacity / 4 }

  init(
    store: any ObjectStore, pool: BlockPool, memory: MemoryTier, configuration: EngineConfiguration
  ) {
    self.store = store
    self.pool = pool
    self.memory = memory
    ioTimeout = configuration.ioTimeout
    let maxInFlight = max(1, min(configuration.maxFetches, store.traits.maxConcurrentFetches))
    let poolBytes = pool.capacity * Geometry.pieceSize
    // What has arrived goes to the disk, where there is one; else it stays in the pool until it is
    // read, and all streams share that.
    maxWindow = max(1 << 20, configuration.cacheFolder == nil ? poolBytes / 4 : poolBytes / 2)
    let estimate = LinkEstimate(
      maxConnections: min(Self.mostForASequence, maxInFlight),
      usualRange: store.traits.preferredRange,
      maxRange: min(4 * store.traits.preferredRange, max(1 << 20, poolBytes / 16)))
    let advice = estimate.advice
    range = Atomic(advice.range)
    connections = Atomic(advice.connections)
    window = Atomic(min(maxWindow, advice.window))
    state = Lock(
      State(
        schedule: FetchSchedule(maxInFlight: maxInFlight, connections: advice.connections),
        estimate: estimate, pace: FillPace(most: maxInFlight)))
  }

  /// What a sequence is worth on this line now.
  var link: LinkTerms {
    LinkTerms(
      range: range.load(ordering: .relaxed), connections: connections.load(ordering: .relaxed),
      window: UInt64(window.load(ordering: .relaxed)),
      pipe: UInt64(pipe.load(ordering: .relaxed)))
  }

  var report: LinkReport {
    let estimate = state.withLock { $0.estimate }
    var report = LinkReport()
    report.firstByteSeconds = estimate.firstByte
    report.bytesPerSecond = estimate.rate
    report.connections = estimate.advice.connections
    report.rangeBytes = estimate.advice.range
    report.windowBytes = Int(link.window)
    return report
  }

  /// Who reads the set that is being filled waits less for it, and not more: these do not slow it down.
  func fills(_ folder: ObjectKey?) { state.withLock { $0.filling = folder } }

  /// A fetch went well: what it tells of the line.
  func note(_ sample: LinkEstimate.Sample, of fetch: ObjectFetch, as rank: FetchRank) {
    let advice = state.withLock { state in
      state.estimate.note(sample)
      if rank == .demand, fetch.isPart || !Self.has(state.filling, fetch.object.version.key) {
        state.pace.noteDemand(
          firstByte: sample.firstByte.seconds, fillInFlight: state.schedule.inFlight(.fill))
        state.schedule.fillLimit = state.pace.limit
      }
      state.schedule.connections = state.estimate.advice.connections
      return state.estimate.advice
    }
    range.store(advice.range, ordering: .relaxed)
    connections.store(advice.connections, ordering: .relaxed)
    pipe.store(advice.pipe, ordering: .relaxed)
    window.store(min(maxWindow, advice.window), ordering: .relaxed)
  }

  private static func has(_ folder: ObjectKey?, _ key: ObjectKey) -> Bool {
    folder.map { key.bytes.starts(with: $0.bytes) } ?? false
  }

  /// Fill that the schedule would send at once now, and what of it waits or is under way.
  var fill: (limit: Int, busy: Int) {
    state.withLock {
      ($0.schedule.fillLimit, $0.schedule.inFlight(.fill) + $0.schedule.waiting(.fill))
    }
  }

  var isStopped: Bool { state.withLock { $0.isStopped } }

  var inFlight: Int { state.withLock { $0.schedule.inFlight } }

  /// Queues fetches and starts what can be started. Call it without a lock held.
  func submit(_ fetches: [ObjectFetch], promoting promoted: [ObjectFetch] = []) {
    if fetches.isEmpty, promoted.isEmpty { return }
    let refused: [ObjectFetch] = state.withLock { state in
      for fetch in promoted { state.schedule.promote(fetch) }
      if state.isStopped { return fetches }
      return fetches.filter { fetch in
        !state.schedule.add(fetch, fetch.rank)
      }
    }
    for fetch in refused { fetch.abandon() }
    pump()
  }

  /// The fetch is over; its turn goes to another.
  func ended(_ kind: FetchKind) {
    state.withLock { $0.schedule.ended(kind) }
    pump()
  }

  /// Starts what can be started now: called when a fetch was added, one ended, or memory came free.
  func pump() {
    let isMine = state.withLock { state in
      if state.isPumping {
        state.pumpAgain = true
        return false
      }
      guard state.schedule.waiting > 0 else { return false }
      state.isPumping = true
      return true
    }
    guard isMine else { return }
    repeat {
      while let turn = state.withLock({ $0.schedule.next { $0.isPart } }) {
        if !start(turn) { break }
      }
    } while state.withLock { state in
      defer { state.pumpAgain = false }
      state.isPumping = state.pumpAgain
      return state.pumpAgain
    }
  }

  /// False: no memory for it now, the turn was put back.
  private func start(_ turn: FetchSchedule<ObjectFetch>.Turn) -> Bool {
    let fetch = turn.fetch
    guard let pieces = fetch.piecesToFetch() else {
      // Nobody wants it any more.
      state.withLock { $0.schedule.ended(turn.kind) }
      fetch.abandon()
      return true
    }
    let isDemand = turn.rank == .demand
    let spare = isDemand ? 0 : reservedForDemand
    let count = pieces.wanted.count
    let missing = count + spare - pool.available
    // Nothing is dropped for read-ahead that would have no room all the same.
    if missing > 0, isDemand || memory.count >= missing {
      memory.evict(missing, for: fetch.object, isDemand: isDemand)
    }
    if pool.promise(count, sparing: spare) {
      fetch.begin(pieces.wanted, turn.kind, store, deadline: .now + ioTimeout)
      return true
    }
    if turn.rank == .ahead {
      state.withLock { $0.schedule.ended(turn.kind) }
      fetch.abandon()
      return true
    }
    // What the reader waits for, without what was added to it.
    if isDemand, pool.promise(pieces.needed.count) {
      fetch.begin(pieces.needed, turn.kind, store, deadline: .now + ioTimeout)
      return true
    }
    state.withLock { $0.schedule.putBack(turn) }
    return false
  }

  /// Drops what waits; nothing is sent from here on.
  func stop() {
    let waiting = state.withLock { state in
      state.isStopped = true
      return state.schedule.removeAll()
    }
    for fetch in waiting { fetch.abandon() }
  }
}

/// What a sequence is worth on a line.
struct LinkTerms {
  /// What one request asks for at most, bytes.
  var range: Int
  var connections: Int
  /// Fetched ahead of the reader at most, bytes.
  var window: UInt64
  /// What the line brings while one waits for a first byte, bytes.
  var pipe: UInt64
}
