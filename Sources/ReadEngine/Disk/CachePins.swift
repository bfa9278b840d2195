/// The pinned versions, be they in the cache or not: one of each key, but for those of which no key is known. Pure.
struct CachePins {
  /// With the hash of each one's key.
  private(set) var all: [FileID: UInt64] = [:]
  /// The other way round.
  private var byKey: [UInt64: FileID] = [:]

  func contains(_ id: FileID) -> Bool { all[id] != nil }

  /// Pins a version, or unpins it. What was pinned of the same key before is unpinned: the path shows the other one
  /// now. `displaced`: that one; `isChange` false: it was so before.
  mutating func pin(
    _ id: FileID, ofKey key: UInt64, _ isPinned: Bool
  ) -> (isChange: Bool, displaced: FileID?) {
    let before = byKey[key]
    let wasPinned = all[id] != nil || !isPinned && before != nil
    if let before, before != id { unpin(before) }
    unpin(id)
    if isPinned {
      all[id] = key
      if key != PinList.unknownKey { byKey[key] = id }
    }
    return (wasPinned != isPinned, before == id ? nil : before)
  }

  private mutating func unpin(_ id: FileID) {
    guard let key = all.removeValue(forKey: id) else { return }
    if byKey[key] == id { byKey[key] = nil }
  }
}
