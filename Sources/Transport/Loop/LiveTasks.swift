/// The exchanges of a loop that have not ended, by the scheduler's ids.
struct LiveTasks {
  /// By `ExchangeID.slot`.
  private var slots: [ExchangeTask?] = []
  private(set) var count = 0

  /// Nil: it has ended.
  subscript(id: ExchangeID) -> ExchangeTask? {
    guard let task = slots[id.slot], task.id == id else { return nil }
    return task
  }

  var all: [ExchangeTask] { slots.compactMap { $0 } }

  mutating func insert(_ task: ExchangeTask, _ id: ExchangeID) {
    while slots.count <= id.slot { slots.append(nil) }
    task.id = id
    slots[id.slot] = task
    count += 1
  }

  /// Nil: it has ended before.
  mutating func remove(_ id: ExchangeID) -> ExchangeTask? {
    guard let task = self[id] else { return nil }
    slots[id.slot] = nil
    count -= 1
    return task
  }
}
