/// What the disk tier holds and what goes first when space is short. Pure: it touches no file.
///
/// Files that are open are never chosen. Among the others the one unused for longest of a random
/// sample goes: nearly as good as a full order of use, at no cost a read.
struct CacheIndex {
  struct Victim: Equatable {
    var id: FileID
    var bytes: UInt64
  }

  private struct Entry {
    var id: FileID
    /// Bytes on disk (st_blocks), the sidecar included.
    var bytes: UInt64
    /// Seconds on a clock that the caller gives.
    var lastUse: Int64
    var opens: Int32
    /// Chosen for eviction, not unlinked yet: must not be opened any more.
    var isDying: Bool
  }

  private static let sampleSize = 32

  private(set) var usedBytes: UInt64 = 0
  private var entries: [Entry] = []
  private var slots: [FileID: Int] = [:]

  var count: Int { entries.count }

  /// Takes note of an open. False: the file is about to be unlinked, the disk is not for this open.
  mutating func open(_ id: FileID, now: Int64) -> Bool {
    guard let slot = slots[id] else {
      slots[id] = entries.count
      entries.append(Entry(id: id, bytes: 0, lastUse: now, opens: 1, isDying: false))
      return true
    }
    guard !entries[slot].isDying else { return false }
    entries[slot].opens += 1
    entries[slot].lastUse = now
    return true
  }

  /// Ends an open. An entry without a byte is forgotten.
  mutating func close(_ id: FileID, now: Int64) {
    guard let slot = slots[id] else { return }
    entries[slot].opens -= 1
    entries[slot].lastUse = now
    if entries[slot].opens == 0, entries[slot].bytes == 0 { forget(id) }
  }

  /// The file takes up `bytes` now.
  mutating func set(_ id: FileID, bytes: UInt64) {
    guard let slot = slots[id] else { return }
    usedBytes = usedBytes - entries[slot].bytes + bytes
    entries[slot].bytes = bytes
  }

  /// The file grows by `bytes`.
  mutating func grow(_ id: FileID, by bytes: UInt64) {
    guard let slot = slots[id] else { return }
    usedBytes += bytes
    entries[slot].bytes += bytes
  }

  /// A file found in the folder that nobody has opened yet.
  mutating func discover(_ id: FileID, bytes: UInt64, lastUse: Int64) {
    if slots[id] != nil { return }
    slots[id] = entries.count
    entries.append(Entry(id: id, bytes: bytes, lastUse: lastUse, opens: 0, isDying: false))
    usedBytes += bytes
  }

  /// Chooses files that free at least `bytes` together, or as many as can go, and marks them.
  /// `forget` follows for each once it is unlinked.
  mutating func chooseVictims(
    freeing bytes: UInt64, using generator: inout some RandomNumberGenerator
  ) -> [Victim] {
    var victims: [Victim] = []
    var freed: UInt64 = 0
    while freed < bytes, let slot = oldestOfSample(using: &generator) {
      entries[slot].isDying = true
      freed += entries[slot].bytes
      victims.append(Victim(id: entries[slot].id, bytes: entries[slot].bytes))
    }
    return victims
  }

  mutating func forget(_ id: FileID) {
    guard let slot = slots.removeValue(forKey: id) else { return }
    usedBytes -= entries[slot].bytes
    let last = entries.removeLast()
    if last.id != id {
      entries[slot] = last
      slots[last.id] = slot
    }
  }

  private func oldestOfSample(using generator: inout some RandomNumberGenerator) -> Int? {
    func canGo(_ entry: Entry) -> Bool { entry.opens == 0 && !entry.isDying && entry.bytes > 0 }
    var best: Int?
    func consider(_ slot: Int) {
      guard canGo(entries[slot]) else { return }
      if let chosen = best, entries[chosen].lastUse <= entries[slot].lastUse { return }
      best = slot
    }
    if entries.count <= Self.sampleSize {
      for slot in entries.indices { consider(slot) }
      return best
    }
    for _ in 0..<Self.sampleSize { consider(Int.random(in: entries.indices, using: &generator)) }
    // Most of the files are open: look at all before giving up.
    if best == nil { for slot in entries.indices { consider(slot) } }
    return best
  }
}
