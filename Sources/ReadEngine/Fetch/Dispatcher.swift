/// Sends fetches to the store: promises each its memory first, so that arriving bytes always have a
/// place, and keeps what is in flight bounded. What an admitted read waits for gets memory before all else.
import Logging
import Metrics
import ObjectStore
import Posix
import Synchronization

final class Dispatcher: FetchObserver {
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
  /// The same as the state's, for those who ask at each step of a read.
  private let hasStopped = Atomic(false)
  /// A fetch waits for memory.
  private let lacksMemory = Atomic(false)
  private let maxWindow: Int

  /// Connections that one sequence may be given.
  private static let mostForASequence = 64

  /// Blocks that read-ahead leaves to demand: a quarter of the pool.
  private var reservedForDemand: Int { pool.capacity / 4 }

  /// Blocks that one fetch may need at most: what is asked for beyond is asked for after it.
  private var admissibleBlocks: Int { ReadAdmission.budget(ofPool: pool.capacity) }

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
    report.ttfbSeconds = estimate.firstByte
    report.bytesPerSecond = estimate.rate
    report.connections = estimate.advice.connections
    report.rangeBytes = estimate.advice.range
    report.windowBytes = Int(link.window)
    return report
  }

  /// Who reads the set that is being filled waits less for it, and not more: these do not slow it down.
  func fills(_ folder: ObjectKey?) { state.withLock { $0.filling = folder } }

  func record(_ sample: LinkEstimate.Sample, of fetch: ObjectFetch, as rank: FetchRank) {
    let advice = state.withLock { state in
      state.estimate.note(sample)
      if rank == .demand, fetch.isPart || !Self.has(state.filling, fetch.owner.version.key) {
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

  /// Nothing is sent from here on.
  var isStopped: Bool { hasStopped.load(ordering: .acquiring) }

  var inFlight: Int { state.withLock { $0.schedule.inFlight } }

  /// Queues fetches and starts what can be started. Call it without a lock held.
  func submit(_ fetches: [ObjectFetch], promoting promoted: [ObjectFetch] = []) {
    if fetches.isEmpty, promoted.isEmpty { return }
    let refused: [ObjectFetch] = state.withLock { state in
      for fetch in promoted { state.schedule.promote(fetch) }
      if state.isStopped { return fetches }
      return fetches.filter { fetch in
        !state.schedule.add(fetch, fetch.plan.rank)
      }
    }
    for fetch in refused { fetch.abandon() }
    pump()
  }

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
      handOutTurns()
    } while state.withLock { state in
      defer { state.pumpAgain = false }
      state.isPumping = state.pumpAgain
      return state.pumpAgain
    }
  }

  /// Pieces may be evicted from now on, or blocks are free: starts what waits for memory.
  func memoryMayBeFree() {
    if lacksMemory.load(ordering: .relaxed) { pump() }
  }

  private typealias Turn = FetchSchedule<ObjectFetch>.Turn

  private func handOutTurns() {
    // Until the end of the round: what comes free meanwhile asks for another one.
    lacksMemory.store(true, ordering: .relaxed)
    var short: [Turn] = []
    var passedBy = 0
    while let turn = state.withLock({ $0.schedule.next(passing: short) { $0.isPart } }) {
      if !start(turn, afterOthers: !short.isEmpty) {
        short.append(turn)
      } else if !short.isEmpty {
        passedBy += 1
      }
    }
    lacksMemory.store(!short.isEmpty, ordering: .relaxed)
    if !short.isEmpty { putBack(short, passedBy) }
  }

  private func putBack(_ turns: [Turn], _ passedBy: Int) {
    let isStopped = state.withLock { state in
      if state.isStopped {
        for turn in turns { state.schedule.ended(turn.kind) }
      } else {
        state.schedule.putBack(turns, passedBy: passedBy)
      }
      return state.isStopped
    }
    if isStopped { for turn in turns { turn.fetch.abandon() } }
  }

  /// False: no memory for it now. `afterOthers`: some that came before it lack memory.
  private func start(_ turn: Turn, afterOthers: Bool) -> Bool {
    let fetch = turn.fetch
    guard let need = fetch.owner.need(of: fetch.plan.id, limit: admissibleBlocks) else {
      drop(turn)
      return true
    }
    if turn.rank == .demand, let needed = need.needed {
      guard let pieces = memoryForReader(fetch, need.pieces, needed, afterOthers) else {
        return false
      }
      begin(turn, pieces)
      return true
    }
    if promise(need.pieces.count, sparing: reservedForDemand, for: fetch.owner, isDemand: false) {
      begin(turn, need.pieces)
      return true
    }
    // Who reads that far asks for it. Of demand the reader is gone.
    guard turn.rank <= .ahead else { return false }
    drop(turn)
    return true
  }

  private func begin(_ turn: Turn, _ pieces: Range<Int>) {
    turn.fetch.begin(
      FetchStart(
        pieces: pieces, kind: turn.kind, store: store, pool: pool, deadline: .now + ioTimeout,
        observer: self))
  }

  private func drop(_ turn: Turn) {
    state.withLock { $0.schedule.ended(turn.kind) }
    turn.fetch.abandon()
  }

  /// Room for what readers wait for of a fetch first; then for the rest, if that is free or was read already.
  private func memoryForReader(
    _ fetch: ObjectFetch, _ pieces: Range<Int>, _ needed: Range<Int>, _ afterOthers: Bool
  ) -> Range<Int>? {
    let spare = reservedForDemand
    if pieces != needed, !afterOthers, pool.promise(pieces.count, sparing: spare) { return pieces }
    guard promise(needed.count, sparing: 0, for: fetch.owner, isDemand: true) else { return nil }
    let extra = pieces.upperBound - needed.upperBound
    guard extra > 0, !afterOthers else { return needed }
    let missing = extra + spare - pool.available
    if missing > 0 {
      _ = memory.evict(missing, atLeast: 1, for: fetch.owner, isDemand: false)
    }
    let given = pool.promise(upTo: extra, sparing: spare)
    return needed.lowerBound..<needed.upperBound + given
  }

  /// Promises blocks to a fetch of `owner`. Nothing is evicted for it if that would not be enough.
  private func promise(
    _ count: Int, sparing spare: Int, for owner: any FetchOwner, isDemand: Bool
  ) -> Bool {
    // A second time where another took what was freed, or what was evicted is still being read.
    for _ in 0..<2 {
      if pool.promise(count, sparing: spare) { return true }
      let missing = count + spare - pool.available
      guard missing > 0 else { continue }
      guard memory.evict(missing, atLeast: missing, for: owner, isDemand: isDemand) > 0 else {
        return false
      }
    }
    return pool.promise(count, sparing: spare)
  }

  /// Drops what waits; nothing is sent from here on.
  func stop() {
    hasStopped.store(true, ordering: .releasing)
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
