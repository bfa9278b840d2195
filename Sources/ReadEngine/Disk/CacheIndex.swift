import Posix

/// What the disk tier holds and what goes first when space is short. Pure: it touches no file.
///
/// Files that are open or pinned are never chosen. Among the others a random sample is looked at: nearly
/// as good as a full order, at no cost a read. Time is counted in opens of files.
///
/// The policy `epoch` is made for data that is read again and again in another order each time: of more
/// than fits, a stable part is kept and the rest is read past the cache, because whatever goes is as
/// likely to be wanted again as what would come (the least recently used is even the likeliest: with it
/// nearly nothing would be found). What has not been opened for longer than anything takes to come back
/// is dead and goes. Where it is known when files are read next, the farthest goes.
package struct CacheIndex {
  private static let sampleSize = 32
  /// Files looked at one after the other where a sample found only such as are open: opens and closes wait
  /// meanwhile. The next choice goes on where this one ended.
  private static let scanSize = 1024

  package private(set) var usedBytes: UInt64 = 0
  /// Promised to planned fetches and not written yet.
  package private(set) var reservedBytes: UInt64 = 0
  private var entries: [CacheEntry] = []
  private var slots: [FileID: Int] = [:]
  /// Opens so far.
  private var now: Int64 = 0
  /// Where the next look at one file after the other begins.
  private var scanStart = 0
  /// When a file of an earlier mount was opened again last: until then they are alive.
  private var foundFromBefore: Int64 = 0
  private var pins = CachePins()

  package init() {}

  package var count: Int { entries.count }

  /// Takes note that a file is in use. False: it is about to be unlinked, the disk is not for this use.
  package mutating func open(_ id: FileID) -> Bool {
    guard let slot = slots[id] else {
      add(CacheEntry(id: id, bytes: 0, lastUse: now, opens: 1))
      return true
    }
    guard !entries[slot].isDying else { return false }
    entries[slot].opens += 1
    entries[slot].lastUse = now
    return true
  }

  /// Ends an open. An entry without a byte is forgotten.
  package mutating func close(_ id: FileID) {
    guard let slot = slots[id] else { return }
    entries[slot].opens -= 1
    guard entries[slot].opens == 0 else { return }
    change(slot) { entry in
      entry.ceiling = 0
      entry.holders = 0
    }
    if entries[slot].bytes == 0 { forget(id) }
  }

  /// A reader has opened it: a tick of the clock.
  package mutating func used(_ id: FileID) {
    now += 1
    guard let slot = slots[id] else { return }
    if entries[slot].isFromBefore { foundFromBefore = now }
    entries[slot].isFromBefore = false
    entries[slot].lastUse = now
  }

  /// A tick of the clock without an open. It separates later uses from earlier ones.
  package mutating func tick() -> Int64 {
    now += 1
    return now
  }

  /// The file takes up `bytes` now.
  package mutating func set(_ id: FileID, bytes: UInt64) {
    guard let slot = slots[id] else { return }
    change(slot) { $0.bytes = bytes }
  }

  /// The file grows by `bytes`.
  package mutating func grow(_ id: FileID, by bytes: UInt64) {
    guard let slot = slots[id] else { return }
    change(slot) { $0.bytes += bytes }
  }

  // MARK: Reservations

  /// Reserves `bytes` more for a file that is open. False: it is not.
  package mutating func reserve(_ id: FileID, _ bytes: UInt64) -> Bool {
    guard let slot = slots[id], entries[slot].opens > 0 else { return false }
    change(slot) { entry in
      entry.ceiling = max(entry.ceiling, entry.bytes) + bytes
      entry.holders += 1
    }
    return true
  }

  /// How many of `bytes` more are reserved for the file.
  package func covered(_ id: FileID, _ bytes: UInt64) -> UInt64 {
    slots[id].map { min(bytes, entries[$0].reserved) } ?? 0
  }

  /// A planned fetch is over. What it reserved and did not use is free again, unless something of the file still
  /// waits to be written: `wroteAll` follows then.
  package mutating func endReservation(_ id: FileID, isWriting: Bool) {
    guard let slot = slots[id], entries[slot].holders > 0 else { return }
    entries[slot].holders -= 1
    if !isWriting { wroteAll(id) }
  }

  /// All of the file that had come is written.
  package mutating func wroteAll(_ id: FileID) {
    guard let slot = slots[id], entries[slot].holders == 0 else { return }
    change(slot) { $0.ceiling = 0 }
  }

  /// Changes an entry and keeps the sums.
  private mutating func change(_ slot: Int, _ body: (inout CacheEntry) -> Void) {
    usedBytes -= entries[slot].bytes
    reservedBytes -= entries[slot].reserved
    body(&entries[slot])
    usedBytes += entries[slot].bytes
    reservedBytes += entries[slot].reserved
  }

  /// A file found in the cache directory and not opened yet, last used `secondsBefore` seconds before this mount.
  package mutating func discover(_ id: FileID, bytes: UInt64, secondsBefore: Int64) {
    if slots[id] != nil { return }
    add(
      CacheEntry(
        id: id, bytes: bytes, lastUse: -max(1, secondsBefore), opens: 0, isFromBefore: true))
    usedBytes += bytes
  }

  private mutating func add(_ entry: CacheEntry) {
    slots[entry.id] = entries.count
    entries.append(entry)
    entries[entries.count - 1].isPinned = pins.contains(entry.id)
  }

  /// Bytes of it on disk, 0 if there is nothing; nil while it is being evicted.
  package func bytes(of id: FileID) -> UInt64? {
    guard let slot = slots[id] else { return 0 }
    return entries[slot].isDying ? nil : entries[slot].bytes
  }

  // MARK: Pins

  /// Pins a version, or unpins it, and what else was pinned of its key. False: it was so before.
  package mutating func pin(_ id: FileID, ofKey key: UInt64, _ isPinned: Bool) -> Bool {
    let change = pins.pin(id, ofKey: key, isPinned)
    if let other = change.displaced { markPin(other) }
    markPin(id)
    return change.isChange
  }

  /// Unpins also files that can no longer be named.
  package mutating func unpinAll() {
    let pinned = pins.all.keys
    pins = CachePins()
    for id in pinned { markPin(id) }
  }

  /// The choice of victims looks at entries alone.
  private mutating func markPin(_ id: FileID) {
    if let slot = slots[id] { entries[slot].isPinned = pins.contains(id) }
  }

  package func isPinned(_ id: FileID) -> Bool { pins.contains(id) }
  /// Pinned versions, be they here or not, with the hash of each one's key.
  package var pinned: [FileID: UInt64] { pins.all }

  // MARK: Eviction

  /// Marks a file that is to be removed. `forget` follows once it is unlinked. Nil: it is open, pinned
  /// or not there.
  package mutating func beginRemoval(of id: FileID) -> Victim? {
    guard let slot = slots[id], entries[slot].mayGo else { return nil }
    entries[slot].isDying = true
    return Victim(id: id, bytes: entries[slot].bytes)
  }

  /// Chooses files that free at least `bytes` together and marks them. `forget` follows for each once it is unlinked.
  /// Where so much cannot be freed, those that should go are chosen if `partly`, else none: nothing is evicted for
  /// bytes that find no space all the same.
  package mutating func chooseVictims(
    freeing bytes: UInt64, partly: Bool = true, _ terms: Terms,
    using generator: inout some RandomNumberGenerator
  ) -> Choice {
    var victims: [Victim] = []
    var freed: UInt64 = 0
    var heldOpen = false
    while freed < bytes,
      let slot = worstOfSample(terms, heldOpen: &heldOpen, using: &generator)
    {
      entries[slot].isDying = true
      freed.addSaturated(entries[slot].bytes)
      victims.append(Victim(id: entries[slot].id, bytes: entries[slot].bytes))
    }
    if freed < bytes, !partly {
      for victim in victims { slots[victim.id].map { entries[$0].isDying = false } }
      victims = []
    }
    if !victims.isEmpty { return .victims(victims) }
    return heldOpen ? .inUse : .keeps
  }

  package mutating func forget(_ id: FileID) {
    guard let slot = slots.removeValue(forKey: id) else { return }
    usedBytes -= entries[slot].bytes
    reservedBytes -= entries[slot].reserved
    let last = entries.removeLast()
    if last.id != id {
      entries[slot] = last
      slots[last.id] = slot
    }
  }

  /// The one of a sample that should go first; nil: none may. `heldOpen`: but for files that are open one would.
  private mutating func worstOfSample(
    _ terms: Terms, heldOpen: inout Bool, using generator: inout some RandomNumberGenerator
  ) -> Int? {
    let clock = CacheClock(now: now, foundFromBefore: foundFromBefore, files: entries.count)
    var sample = VictimSample(terms, clock)
    if entries.count <= Self.sampleSize {
      for slot in entries.indices { sample.consider(entries[slot], at: slot) }
    } else {
      for _ in 0..<Self.sampleSize {
        // Not Int.random: its generic code takes most of the time of a choice.
        let slot = Int(generator.next().multipliedFullWidth(by: UInt64(entries.count)).high)
        sample.consider(entries[slot], at: slot)
      }
      // Few are from before a load: look at all before giving up.
      if sample.worst == nil, terms.usedBefore != .max {
        for slot in entries.indices { sample.consider(entries[slot], at: slot) }
      } else if sample.worst == nil, sample.openCount > 0 {
        // Most of the files are open.
        for _ in 0..<min(Self.scanSize, entries.count) {
          scanStart = scanStart + 1 < entries.count ? scanStart + 1 : 0
          sample.consider(entries[scanStart], at: scanStart)
        }
      }
    }
    heldOpen = sample.worst == nil && sample.openCount > 0
    return sample.worst
  }
}
