import Posix
import Prefetch
import ReadEngine

/// A trace through the disk tier's own policy: the index, the meter and the order that the program uses,
/// with the admission of `DiskTier.reserve` and no disk.
struct CacheReplay {
  /// What the loader said before an epoch began.
  enum Knowledge: String {
    case nothing
    case thisEpoch = "order of the epoch"
    case nextToo = "order of this and the next"
  }

  private let trace: Trace
  private let policy: EvictionPolicy
  private let knowledge: Knowledge
  private let capacity: UInt64
  /// Bytes that are fetched ahead of the reader of an order.
  private let window: UInt64
  private var index = CacheIndex()
  private var reuse = ReuseMeter()
  private var random: SeededGenerator
  private var order: EpochOrder?
  private var lines: [Int] = []
  /// Fetched ahead, without a place on the disk: memory has them until they are read.
  private var inMemory: Set<Int> = []
  private var fetched: UInt64 = 0

  init(
    _ trace: Trace, _ policy: EvictionPolicy, _ knowledge: Knowledge, capacity: UInt64, seed: UInt64
  ) {
    self.trace = trace
    self.policy = policy
    self.knowledge = knowledge
    self.capacity = capacity
    window = trace.bytes / 100
    random = SeededGenerator(seed: seed)
  }

  /// Share of the bytes of each epoch that did not come from the store.
  mutating func run() -> [Double] {
    trace.epochs.indices.map { number in
      begin(number)
      fetched = 0
      var asked: UInt64 = 0
      for file in trace.epochs[number] {
        asked += trace.sizes[file]
        read(file)
        fetchAhead()
      }
      precondition(index.usedBytes <= capacity, "the cache is over its limit")
      return 1 - Double(fetched) / Double(asked)
    }
  }

  private mutating func begin(_ number: Int) {
    guard knowledge != .nothing else { return }
    lines = trace.epochs[number]
    if knowledge == .nextToo, number + 1 < trace.epochs.count { lines += trace.epochs[number + 1] }
    var order = EpochOrder(count: lines.count)
    for file in lines {
      order.learn(EpochOrder.Item(hash: id(file).low, size: trace.sizes[file]))
    }
    self.order = order
    fetchAhead()
  }

  private func id(_ file: Int) -> FileID { FileID(number: UInt64(file)) }

  private mutating func read(_ file: Int) {
    let id = id(file)
    _ = index.open(id)
    index.used(id)
    reuse.opened(id.low, bytes: trace.sizes[file])
    _ = order?.open(id.low)
    let isAhead = inMemory.remove(file) != nil
    if index.bytes(of: id) == 0 {
      if !isAhead { fetched += trace.sizes[file] }
      _ = admit(file)
    }
    index.close(id)
  }

  private mutating func fetchAhead() {
    while let next = order?.takeNext(window: window) {
      let file = lines[next.line]
      if index.bytes(of: id(file))! > 0 || inMemory.contains(file) { continue }
      fetched += trace.sizes[file]
      _ = index.open(id(file))
      if !admit(file) { inMemory.insert(file) }
      index.close(id(file))
    }
  }

  /// As `DiskTier.reserve`: victims make room, or what came is read past the cache.
  private mutating func admit(_ file: Int) -> Bool {
    let bytes = trace.sizes[file]
    let order = order
    var terms = CacheIndex.Terms(
      policy: policy, deadAfter: reuse.deadAfter,
      nextUse: order?.distance(of: id(file).low), nextUseOf: { order?.distance(of: $0.low) })
    terms.after = order?.distanceAfter(id(file).low)
    for _ in 0..<4 {
      let used = index.usedBytes + bytes
      if used <= capacity {
        index.grow(id(file), by: bytes)
        return true
      }
      let choice = index.chooseVictims(freeing: used - capacity, terms, using: &random)
      guard case .victims(let victims) = choice else { return false }
      for victim in victims { index.forget(victim.id) }
    }
    return false
  }
}
