import Glibc
import Logging
import Metrics
import ObjectStore
import Posix
import Synchronization

@testable import ReadEngine

/// Readers, an order and a fill over the real engine and a store that is driven by hand: a small pool, no disk, and
/// a seed that says who does what when.
final class ProgressModel {
  enum Trouble: Error, Equatable {
    /// Nothing is under way, and reads wait.
    case stuck
    /// A piece of a read that waits was fetched twice: it was evicted in between.
    case fetchedTwice
    case failed
    /// More requests than this can take.
    case endless
  }

  private struct Reader {
    var object: OpenObject
    var size: UInt64
    var next: UInt64 = 0
    var isRandom: Bool
    var readsLeft: Int
    var waiting = Count()
  }

  /// Reads of one reader that wait.
  final class Count: Sendable {
    let value = Atomic<Int>(0)
  }

  private static let piece = UInt64(Geometry.pieceSize)

  private let store: ManualStore
  private let engine: ReadEngine
  private let watch = Lock(Watch())
  private let failures = Counter()
  private var random: SeededGenerator
  private let versions: [ObjectVersion]
  private var readers: [Reader] = []
  private let depth: Int
  /// Bytes that readers asked for.
  private(set) var asked = 0

  var fetched: Int { store.bytes }

  private struct Watch {
    weak var engine: ReadEngine?
    var fetched: Set<Seen> = []
    var fetchedTwice = false
  }

  private struct Seen: Hashable {
    var ticket: UInt64
    var piece: Int
  }

  /// `blocks`: of the pool; nil: from the seed, 16 to 64.
  init(
    seed: UInt64, protects: Bool = true, blocks: Int? = nil, readers count: Int? = nil,
    isSequential: Bool = false
  ) throws {
    var random = SeededGenerator(seed: seed)
    let blocks = blocks ?? [16, 17, 24, 40, 64].randomElement(using: &random)!
    let piece = Int(Self.piece)
    versions = (0..<Int.random(in: 2...8, using: &random)).map { file in
      let size = Int.random(in: 1...30 * piece, using: &random)
      return ObjectVersion(
        key: ObjectKey("\(file)"), etag: "e", size: UInt64(size), modified: 0)
    }
    let watch = watch
    store = ManualStore { request in Self.note(request, watch) }
    var configuration = EngineConfiguration(
      memoryLimit: blocks * piece,
      eviction: Int.random(in: 0..<4, using: &random) == 0 ? .lru : .epoch,
      maxFetches: Int.random(in: 2...16, using: &random))
    configuration.memorySeed = seed
    configuration.protectsReads = protects
    engine = try ReadEngine(
      store: store, configuration: configuration, metrics: Metrics(),
      log: Logger(label: "model") { _ in SwiftLogNoOpLogHandler() })
    depth = isSequential ? 1 : Int.random(in: 1...3, using: &random)
    for reader in 0..<(count ?? Int.random(in: 1...12, using: &random)) {
      let version = versions[reader % versions.count]
      readers.append(
        Reader(
          object: engine.open(version), size: version.size,
          isRandom: !isSequential && Bool.random(using: &random),
          readsLeft: isSequential ? .max : 8))
    }
    self.random = random
    watch.withLock { $0.engine = engine }
    if Bool.random(using: &self.random) { order() }
  }

  deinit {
    for reader in readers { reader.object.close() }
    engine.shutdown()
    store.shutdown()
  }

  /// This epoch and the next in one order: every file has a next use.
  private func order() {
    let places = Dictionary(
      uniqueKeysWithValues: versions.enumerated().map { (engine.hash(of: $1), 1 + $0) })
    engine.onNextUse { places[$0] }
  }

  /// A read that was admitted keeps what it has: each of its pieces is fetched once at most while it waits.
  private static func note(_ request: FetchRequest, _ watch: Lock<Watch>) {
    guard let engine = watch.withLock({ $0.engine }),
      let object = engine.services.inUse(request.version)
    else { return }
    let pieces = Geometry.pieces(covering: request.range)
    let admitted = object.withMachine { $0.memory.admitted }
    watch.withLock { watch in
      for read in admitted {
        for piece in read.pieces.clamped(to: pieces) {
          let isNew = watch.fetched.insert(Seen(ticket: read.ticket, piece: piece)).inserted
          if !isNew { watch.fetchedTwice = true }
        }
      }
    }
  }

  /// Plays until every reader has read what it wants.
  func run(prefetches: Bool = true) throws(Trouble) {
    // Every request brings a piece at least, and none of them is in vain for ever.
    let limit = 4000
    while true {
      if watch.withLock({ $0.fetchedTwice }) { throw .fetchedTwice }
      if failures.count > 0 { throw .failed }
      if store.begun > limit { throw .endless }
      let turn = Int.random(in: 0..<8, using: &random)
      if turn < 3, readOnce() { continue }
      if turn == 3, prefetches, Int.random(in: 0..<4, using: &random) == 0 { prefetchOnce() }
      if store.deliver(using: &random) { continue }
      if readOnce() { continue }
      if readers.allSatisfy({ $0.waiting.value.load(ordering: .relaxed) == 0 }) { return }
      if !comesToLife() { throw .stuck }
    }
  }

  /// The housekeeper's tick, which may just be under way on its own thread.
  private func comesToLife() -> Bool {
    let deadline = Instant.now + .seconds(10)
    while Instant.now < deadline {
      engine.services.dispatcher.pump()
      let isOver = readers.allSatisfy { $0.waiting.value.load(ordering: .relaxed) == 0 }
      if isOver || !store.isIdle { return true }
      usleep(1000)
    }
    return false
  }

  private func prefetchOnce() {
    let version = versions.randomElement(using: &random)!
    let rank: FetchRank = Bool.random(using: &random) ? .planned : .fill
    engine.prefetch(version, rank) { _ in }
  }

  /// False: every reader has all the reads under way that it may, or is done.
  private func readOnce() -> Bool {
    let able = readers.indices.filter { index in
      readers[index].waiting.value.load(ordering: .relaxed) < depth && !isDone(readers[index])
    }
    guard let index = able.randomElement(using: &random) else { return false }
    let size = readers[index].size
    var count = UInt64(Int.random(in: 1...1 << 20, using: &random))
    if readers[index].isRandom {
      readers[index].next = UInt64.random(in: 0..<size, using: &random)
    } else if readers[index].readsLeft == .max {
      count = 1 << 20
    }
    let start = readers[index].next
    let end = min(size, start + count)
    readers[index].next = end
    readers[index].readsLeft -= readers[index].readsLeft == .max ? 0 : 1
    asked += Int(end - start)
    read(start..<end, readers[index])
    return true
  }

  private func isDone(_ reader: Reader) -> Bool {
    reader.readsLeft == 0 || !reader.isRandom && reader.next >= reader.size
  }

  private func read(_ bytes: Range<UInt64>, _ reader: Reader) {
    let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 16)
    defer { scratch.deallocate() }
    reader.object.read(at: bytes.lowerBound, count: bytes.count, scratch: scratch) { reply in
      check(reply)
    } park: {
      reader.waiting.value.add(1, ordering: .relaxed)
      return Waiting(reader.waiting, failures)
    }
  }

  private func check(_ reply: ReadReply) {
    if case .failure = reply { failures.add() }
  }

  private final class Waiting: ParkedRead {
    private let waiting: Count
    private let failures: Counter

    init(_ waiting: Count, _ failures: Counter) {
      self.waiting = waiting
      self.failures = failures
    }

    func complete(_ reply: ReadReply, _ wait: ReadWait) {
      if case .failure = reply { failures.add() }
      waiting.value.subtract(1, ordering: .relaxed)
    }
  }
}
