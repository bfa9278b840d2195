/// An exchange that has been started and has not ended. Ids are not used again.
struct ExchangeID: Hashable, Sendable {
  /// From 0 on: of those that are live at a time, no two have the same.
  let slot: Int
  /// How often the slot had been used before.
  fileprivate let round: Int
}

/// Values by id, without hashing and in an order that depends on what was inserted and removed alone: a test that
/// goes through them does the same each time.
///
/// They lie side by side: whoever reads or changes one asks for its place (`index`) and works on `values`, where it
/// stands, for they are large to be copied. A place holds until the next removal.
struct SlotTable<Value> {
  fileprivate struct Slot: Sendable {
    var round = 0
    var index: Int?
  }

  var values: [Value] = []
  /// Of the values, in the same order.
  private(set) var ids: [ExchangeID] = []
  private var slots: [Slot] = []
  private var free: [Int] = []

  var count: Int { ids.count }

  /// Nil for one that was removed.
  func index(of id: ExchangeID) -> Int? {
    let slot = slots[id.slot]
    return slot.round == id.round ? slot.index : nil
  }

  func contains(_ id: ExchangeID) -> Bool { index(of: id) != nil }

  /// A copy.
  subscript(id: ExchangeID) -> Value? { index(of: id).map { values[$0] } }

  mutating func insert(_ value: Value) -> ExchangeID {
    let slot: Int
    if let reused = free.popLast() {
      slot = reused
    } else {
      slot = slots.count
      slots.append(Slot())
    }
    slots[slot].index = values.count
    let id = ExchangeID(slot: slot, round: slots[slot].round)
    values.append(value)
    ids.append(id)
    return id
  }

  /// Nil: it was removed before.
  @discardableResult
  mutating func remove(_ id: ExchangeID) -> Value? {
    guard let index = index(of: id) else { return nil }
    slots[id.slot].index = nil
    slots[id.slot].round += 1
    free.append(id.slot)
    // The last takes its place.
    values.swapAt(index, values.count - 1)
    ids.swapAt(index, ids.count - 1)
    ids.removeLast()
    if index < ids.count { slots[ids[index].slot].index = index }
    return values.removeLast()
  }
}

extension SlotTable: Sendable where Value: Sendable {}
