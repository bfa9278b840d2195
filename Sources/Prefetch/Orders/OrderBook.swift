/// The orders in force, by name: what the file system's opens and the disk tier's evictions ask.
import ObjectStore
import Posix

final class OrderBook: Sendable {
  struct Running {
    /// Tells it from another of the same name.
    var number: Int
    var text: OrderText
    var order: EpochOrder
    var lastProgress: Instant
  }

  /// Why an order is not taken.
  enum Refusal: Error, Equatable {
    case tooMany
    /// Bytes that it would take, and those that the others leave of the limit.
    case noMemory(needed: Int, left: Int)
  }

  struct State {
    var orders: [String: Running] = [:]
    var taken = 0
    /// Of each name that was used of late, the number of its last order, in force or ended.
    var newest: [String: Int] = [:]
    /// Memory of all orders, bytes.
    var bytes = 0
    /// Those that were followed last, the last first: `distance` asks these.
    var followed: [String] = []

    mutating func remove(_ name: String) -> Bool {
      guard let running = orders.removeValue(forKey: name) else { return false }
      bytes -= running.text.memory
      followed.removeAll { $0 == name }
      return true
    }

    mutating func nextNumber() -> Int {
      taken += 1
      return taken
    }

    mutating func remember(_ number: Int, of name: String) {
      if newest.count >= OrderBook.rememberedNames {
        newest = newest.filter { orders[$0.key] != nil }
      }
      newest[name] = number
    }

    mutating func follow(_ name: String) {
      if followed.first == name { return }
      followed.removeAll { $0 == name }
      followed.insert(name, at: 0)
    }
  }

  private static let rememberedNames = 1024
  /// Names in use at once.
  static let limit = 64
  /// Orders that are asked when something has to go: each look at a file of the cache costs a look into each.
  static let consulted = 16
  /// An order that no reader has followed for so long predicts nothing any more.
  private static let patience = Duration.seconds(3600)
  /// One whose readers have come to its end, but for what they leave out (drop_last).
  private static let patienceAtItsEnd = Duration.seconds(600)

  /// Memory of all orders in force, text and tables, bytes.
  let memoryLimit: Int
  /// Of what is fetched of a large file at once, bytes.
  private let part: UInt64
  let state = Lock(State())

  init(memoryLimit: Int, part: UInt64 = EpochOrder.usualPart) {
    self.memoryLimit = memoryLimit
    self.part = part
  }

  /// Memory of the orders in force, bytes.
  var memory: Int { state.withLock { $0.bytes } }

  /// For an order that is given now, and put in force once it was checked.
  func newNumber() -> Int { state.withLock { $0.nextNumber() } }

  /// Throws if an order would be refused now.
  func check(_ text: OrderText, name: String) throws(Refusal) {
    let refusal = state.withLock { state in
      drop(&state, at: .now)
      return self.refusal(of: text, name: name, state)
    }
    if let refusal { throw refusal }
  }

  private func refusal(of text: OrderText, name: String, _ state: State) -> Refusal? {
    let before = state.orders[name]
    guard text.count > 0 else { return nil }
    guard before != nil || state.orders.count < Self.limit else { return .tooMany }
    let left = memoryLimit - state.bytes + (before?.text.memory ?? 0)
    return text.memory <= left ? nil : .noMemory(needed: text.memory, left: max(0, left))
  }

  /// Puts an order in force in place of the one of the same name; an empty one ends that.
  /// `number`: of `newNumber`, when it was given; nothing happens where a newer one of the name has come meanwhile.
  func take(_ text: OrderText, name: String, number: Int? = nil) throws(Refusal) {
    let refusal: Refusal? = state.withLock { state in
      drop(&state, at: .now)
      if let reason = self.refusal(of: text, name: name, state) { return reason }
      let number = number ?? state.nextNumber()
      guard number > state.newest[name] ?? 0 else { return nil }
      state.remember(number, of: name)
      _ = state.remove(name)
      if text.count == 0 { return nil }
      state.bytes += text.memory
      state.orders[name] = Running(
        number: number, text: text, order: EpochOrder(count: text.count, part: part),
        lastProgress: .now)
      state.follow(name)
      return nil
    }
    if let refusal { throw refusal }
  }

  /// Whether a text of `count` bytes could be taken: asked before it is parsed.
  func hasRoom(forText count: Int, name: String) -> Bool {
    state.withLock { state in
      drop(&state, at: .now)
      return count <= memoryLimit - state.bytes + (state.orders[name]?.text.memory ?? 0)
    }
  }

  func remove(_ name: String) -> Bool {
    state.withLock { state in
      // What was given before does not come into force after this.
      let number = state.nextNumber()
      state.remember(number, of: name)
      return state.remove(name)
    }
  }

  var names: [String] { state.withLock { $0.orders.keys.sorted() } }

  /// Called for each open. Whether an order may go on now, and in how many the file was not fetched yet.
  func opened(_ hash: UInt64) -> (isNews: Bool, late: Int) {
    state.withLock { state in
      var isNews = false
      var late = 0
      // Not over the keys themselves: they would hold the tables, which would be copied at each open.
      for name in Array(state.orders.keys) {
        let before = state.orders[name]!.order.late
        guard state.orders[name]!.order.open(hash) else { continue }
        state.orders[name]!.lastProgress = .now
        late += state.orders[name]!.order.late - before
        isNews = true
        state.follow(name)
      }
      return (isNews, late)
    }
  }

  /// Readers of large files have come to these positions, by hash; of what is in no list no reader is left.
  func advance(_ positions: [UInt64: UInt64]) {
    state.withLock { state in
      for name in Array(state.orders.keys) {
        for line in Array(state.orders[name]!.order.reading.keys) {
          guard let hash = state.orders[name]!.order.known[line]?.hash else { continue }
          if let position = positions[hash] {
            state.orders[name]!.order.advanced(line, to: position)
          } else {
            state.orders[name]!.order.closed(line)
          }
        }
      }
    }
  }

  /// Of several orders the nearest use counts. `isAfter`: the one after the coming use.
  func distance(of hash: UInt64, isAfter: Bool = false) -> Int? {
    state.withLock { state in
      var nearest: Int?
      for name in state.followed.prefix(Self.consulted) {
        // In place: a copy would hold the tables.
        guard state.orders[name]?.order.isDone == false,
          let distance = isAfter
            ? state.orders[name]?.order.distanceAfter(hash)
            : state.orders[name]?.order.distance(of: hash)
        else { continue }
        nearest = min(nearest ?? .max, distance)
      }
      return nearest
    }
  }

  /// Fetched ahead for all orders and not read yet, bytes.
  var ahead: UInt64 {
    state.withLock { state in
      state.orders.values.reduce(0) { EpochOrder.sum($0, $1.order.ahead) }
    }
  }

  /// Whether any has something left to be read.
  var isActive: Bool {
    state.withLock { state in
      drop(&state, at: .now)
      return state.orders.values.contains { !$0.order.isDone }
    }
  }

  private func drop(_ state: inout State, at now: Instant) {
    for (name, running) in state.orders {
      let isOver = running.order.isNearItsEnd
      let patience = isOver ? Self.patienceAtItsEnd : Self.patience
      if now - running.lastProgress > patience { _ = state.remove(name) }
    }
  }
}
