/// One version in use: the shell around `ObjectStateMachine`. Takes the lock, asks, unlocks, performs.
///
/// Shared by everyone who has the version open; lives on until what was fetched is on disk.
import Glibc
import Metrics
import ObjectStore
import Posix
import Synchronization

final class CachedObject: Sendable {
  let version: ObjectVersion
  let id: FileID
  let services: EngineServices
  /// The descriptor of the cache file once every piece is there and trusted, else -1: then a read takes
  /// no lock. The file stays open as long as the object lives.
  let wholeDescriptor = Atomic<CInt>(-1)
  /// Of replies to all its fetches.
  let learntETag = LearntETag()
  /// When it was opened last, on the clock of opens.
  let lastUse = Atomic<Int64>(0)
  /// Held while the copy on disk is looked for or removed, so that one is not found while it goes. An opener waits
  /// here for the one before it; no read does. Taken before `state`, never within it.
  let connection = Lock(())
  private let state: Lock<Guarded>

  /// The machine, and what its numbers stand for.
  struct Guarded {
    var machine: ObjectStateMachine
    /// Queued or in flight.
    var fetches: [FetchID: ObjectFetch] = [:]
    var parked: [WaiterID: any ParkedRead] = [:]
    /// The machine's copy.
    var file: CacheFile?
    /// Files that are out of use but may still be read by a thread that took the descriptor before.
    var retiredFiles: [CacheFile] = []
  }

  init(_ version: ObjectVersion, services: EngineServices) {
    self.version = version
    self.services = services
    id = FileID(store: services.storeIdentity, version: version)
    state = Lock(
      Guarded(
        machine: ObjectStateMachine(
          size: version.size, protectsReads: services.configuration.protectsReads)))
  }

  // MARK: The lock

  /// Asks or changes the machine, where nothing is to be done after it.
  func withMachine<Result>(_ body: (inout ObjectStateMachine) -> Result) -> Result {
    state.withLock { body(&$0.machine) }
  }

  /// The same with what its numbers stand for.
  func withState<Result>(_ body: (inout Guarded) -> Result) -> Result { state.withLock(body) }

  /// Takes the lock, has the machine decide, unlocks, performs what it decided.
  func handle(_ body: (inout ObjectStateMachine) -> [ObjectAction]) {
    perform(state.withLock { state in resolve(body(&state.machine), &state) })
  }

  /// An action, and what its numbers stand for.
  struct Work {
    let action: ObjectAction
    var parked: (any ParkedRead)?
    var file: CacheFile?
    var fetches: [ObjectFetch] = []
    var promoted: [ObjectFetch] = []
  }

  /// Looks up what the numbers of actions stand for, and retains blocks that are read from. Under the lock.
  func resolve(_ actions: [ObjectAction], _ state: inout Guarded) -> [Work] {
    actions.map { action in
      var work = Work(action: action)
      switch action {
      case .reply(let waiter, let segments):
        work.parked = state.parked.removeValue(forKey: waiter.id)
        for segment in segments {
          switch segment {
          case .memory(let block, _, _): services.pool.retain(block)
          case .disk: work.file = state.file
          }
        }
      case .verify(let waiter, _), .fail(let waiter, _), .timeOut(let waiter),
        .askForMemory(let waiter, _):
        work.parked = state.parked.removeValue(forKey: waiter.id)
      case .request(let plans, let promoted):
        work.fetches = plans.map { addFetch($0, for: nil, &state) }
        work.promoted = promoted.compactMap { state.fetches[$0] }
      case .loadSegments: work.file = state.file
      case .removeCopy: retireFile(&state)
      default: break
      }
      return work
    }
  }

  func addFetch(_ plan: FetchPlan, for run: PrefetchRun?, _ state: inout Guarded) -> ObjectFetch {
    let fetch = ObjectFetch(plan, of: self, for: run)
    state.fetches[plan.id] = fetch
    return fetch
  }

  /// The machine's copy is none any more. Under the lock.
  func retireFile(_ state: inout Guarded) {
    wholeDescriptor.store(-1, ordering: .releasing)
    if let file = state.file { state.retiredFiles.append(file) }
    state.file = nil
  }

  /// From now on reads take no lock, if every piece is on disk and right. Under the lock.
  func publishIfWhole(_ state: inout Guarded) {
    guard state.machine.blocks.disk.presence.isWholeAndTrusted, let file = state.file else {
      return
    }
    wholeDescriptor.store(file.descriptor, ordering: .releasing)
  }

  /// Its copy on disk.
  var copyOnDisk: ObjectCopy { ObjectCopy(object: self) }

  // MARK: Reading

  /// What decides on reads now.
  var terms: ReadTerms {
    ReadTerms(
      now: .now, network: services.dispatcher.link, isStopped: services.dispatcher.isStopped)
  }

  /// Takes a read that could not be answered at once. `blocks`: what it needs of memory, if it needs any.
  func park(_ bytes: Range<UInt64>, blocks: Int?, _ parked: any ParkedRead) {
    let deadline = Instant.now + services.configuration.ioTimeout
    let place = blocks.map { services.admission.enter(blocks: $0, self) }
    let terms = terms
    let work = withState { state in
      let (id, actions) = state.machine.parked(
        bytes, until: deadline, ticket: place?.ticket, isAdmitted: place?.isAdmitted ?? false,
        terms)
      state.parked[id] = parked
      return resolve(actions, &state)
    }
    perform(work)
  }

  func count(_ bytes: Int, from source: ReadWait.Source) {
    let reads = services.metrics.reads
    switch source {
    case .memory:
      reads.hitsInMemory.add()
      reads.bytesFromMemory.add(bytes)
    case .disk:
      reads.hitsOnDisk.add()
      reads.bytesFromDisk.add(bytes)
    case .store:
      reads.misses.add()
      reads.bytesFromStore.add(bytes)
    }
  }

  func release(_ block: BlockPool.Block) {
    if services.pool.release(block) { services.dispatcher.pump() }
  }
}
