/// An exchange that has been started and has not ended. Ids are not used again.
struct ExchangeID: Hashable, Sendable {
  fileprivate let slot: Int
  /// How often the slot had been used before.
  fileprivate let round: Int
}

/// Values by id, without hashing and in an order that depends on what was inserted and removed alone: a test that
/// goes through them does the same each time.
struct SlotTable<Value> {
  fileprivate struct Slot {
    var round = 0
    /// The place in `ids`.
    var index = 0
    var value: Value?
  }

  private var slots: [Slot] = []
  private var free: [Int] = []
  /// Those that there are, in no order that means anything.
  private(set) var ids: [ExchangeID] = []

  var count: Int { ids.count }

  mutating func insert(_ value: Value) -> ExchangeID {
    let slot: Int
    if let reused = free.popLast() {
      slot = reused
    } else {
      slot = slots.count
      slots.append(Slot())
    }
    slots[slot].value = value
    slots[slot].index = ids.count
    let id = ExchangeID(slot: slot, round: slots[slot].round)
    ids.append(id)
    return id
  }

  /// Nil for one that was removed. Setting does nothing for it.
  subscript(id: ExchangeID) -> Value? {
    // By accessors that lend: values are large, and most questions are for one field.
    _read {
      if slots[id.slot].round == id.round {
        yield slots[id.slot].value
      } else {
        yield nil
      }
    }
    _modify {
      if slots[id.slot].round == id.round {
        yield &slots[id.slot].value
      } else {
        var none: Value?
        yield &none
      }
    }
  }

  @discardableResult
  mutating func remove(_ id: ExchangeID) -> Value? {
    guard slots[id.slot].round == id.round, let value = slots[id.slot].value else { return nil }
    slots[id.slot].value = nil
    slots[id.slot].round += 1
    free.append(id.slot)
    let last = ids.removeLast()
    if last != id {
      let index = slots[id.slot].index
      ids[index] = last
      slots[last.slot].index = index
    }
    return value
  }
}

extension SlotTable.Slot: Sendable where Value: Sendable {}
extension SlotTable: Sendable where Value: Sendable {}
