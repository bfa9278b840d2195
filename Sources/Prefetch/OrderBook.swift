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

  struct State {
    var orders: [String: Running] = [:]
    var taken = 0
  }

  /// Names in use at once.
  static let limit = 64
  /// An order that nobody has followed for so long says nothing any more.
  private static let patience = Duration.seconds(3600)

  let state = Lock(State())

  /// False: there are too many of other names.
  func take(_ text: OrderText, name: String) -> Bool {
    state.withLock { state in
      drop(&state, at: .now)
      guard state.orders[name] != nil || state.orders.count < Self.limit else { return false }
      state.taken += 1
      state.orders[name] =
        text.count == 0
        ? nil
        : Running(
          number: state.taken, text: text, order: EpochOrder(count: text.count), lastProgress: .now)
      return true
    }
  }

  func remove(_ name: String) -> Bool {
    state.withLock { $0.orders.removeValue(forKey: name) != nil }
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
      }
      return (isNews, late)
    }
  }

  /// Of several orders the nearest use counts.
  func distance(of hash: UInt64) -> Int? {
    state.withLock { state in
      var nearest: Int?
      for running in state.orders.values where !running.order.isDone {
        guard let distance = running.order.distance(of: hash) else { continue }
        nearest = min(nearest ?? .max, distance)
      }
      return nearest
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
    for (name, running) in state.orders where now - running.lastProgress > Self.patience {
      state.orders[name] = nil
    }
  }
}

/// An order as `millrace stats` shows it.
public struct OrderReport: Sendable, Codable {
  public var name: String
  /// Lines, those of them that were opened, and those that were fetched ahead or found here.
  public var files: Int
  public var opened: Int
  public var ahead: Int
  /// Fetched ahead and not opened yet, bytes.
  public var bytesAhead: UInt64
  /// Opened before they had been fetched.
  public var late: Int
  /// Lines that are no files of the mount, as far as was looked.
  public var unknown: Int
}
