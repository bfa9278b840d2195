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
  package struct Victim: Equatable {
    package var id: FileID
    package var bytes: UInt64
  }

  package enum Choice: Equatable {
    case victims([Victim])
    /// What is there is worth more than what would come.
    case keeps
    /// What could go is held open.
    case inUse
  }

  /// What the choice goes by, beside the index itself.
  package struct Terms {
    package var policy: EvictionPolicy
    /// Opens after which a file that was not opened is dead, 0 while nothing is known of that.
    package var deadAfter: Int64
    /// Only what was last used before this may go, on the clock of opens.
    package var usedBefore = Int64.max
    /// Of the file that would come: number of files that are read before it, nil if unknown.
    package var nextUse: Int?
    /// Of what would come, when it is used after that: a file of which it is known when it is read makes way only if
    /// it is read later. Nil: as `nextUse`.
    package var after: Int?
    /// Of a file that is there: number of files that are read before it, `Int.max` if it has been read and comes
    /// last again, nil if unknown.
    package var nextUseOf: (FileID) -> Int?

    package init(
      policy: EvictionPolicy, deadAfter: Int64, nextUse: Int? = nil,
      nextUseOf: @escaping (FileID) -> Int? = { _ in nil }
    ) {
      self.policy = policy
      self.deadAfter = deadAfter
      self.nextUse = nextUse
      self.nextUseOf = nextUseOf
    }
  }

  private struct Entry {
    var id: FileID
    /// Bytes on disk (st_blocks), the sidecar included.
    var bytes: UInt64
    /// In opens; negative for files of earlier mounts: seconds before this one.
    var lastUse: Int64
    var opens: Int32
    /// Chosen for eviction, not unlinked yet: must not be opened any more.
    var isDying = false
    var isPinned = false
    /// Of an earlier mount, and not opened by a reader yet.
    var isFromBefore = false
    /// The file may grow to this without being refused, bytes; 0: nothing is reserved for it.
    var ceiling: UInt64 = 0
    /// Planned fetches that reserved it.
    var holders: Int32 = 0

    var reserved: UInt64 { ceiling > bytes ? ceiling - bytes : 0 }
  }

  private static let sampleSize = 32
  /// Files looked at one after the other where a sample found only such as are open: opens and closes wait
  /// meanwhile. The next choice goes on where this one ended.
  private static let scanSize = 1024

  package private(set) var usedBytes: UInt64 = 0
  /// Promised to planned fetches and not written yet.
  package private(set) var reservedBytes: UInt64 = 0
  private var entries: [Entry] = []
  private var slots: [FileID: Int] = [:]
  /// Opens so far.
  private var now: Int64 = 0
  /// Where the next look at one file after the other begins.
  private var scanStart = 0
  /// When a file of an earlier mount was opened again last: until then they are alive.
  private var foundFromBefore: Int64 = 0
  /// Pinned, be they here or not, with the hash of each one's key.
  private var pins: [FileID: UInt64] = [:]
  /// The other way round: one version a key, but for those of which no key is known.
  private var pinsByKey: [UInt64: FileID] = [:]

  package init() {}

  package var count: Int { entries.count }

  /// Takes note that a file is in use. False: it is about to be unlinked, the disk is not for this use.
  package mutating func open(_ id: FileID) -> Bool {
    guard let slot = slots[id] else {
      add(Entry(id: id, bytes: 0, lastUse: now, opens: 1))
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
  /// waits to be written: `settle` follows then.
  package mutating func endReservation(_ id: FileID, isWriting: Bool) {
    guard let slot = slots[id], entries[slot].holders > 0 else { return }
    entries[slot].holders -= 1
    if !isWriting { settle(id) }
  }

  /// All of the file that had come is written.
  package mutating func settle(_ id: FileID) {
    guard let slot = slots[id], entries[slot].holders == 0 else { return }
    change(slot) { $0.ceiling = 0 }
  }

  /// Changes an entry and keeps the sums.
  private mutating func change(_ slot: Int, _ body: (inout Entry) -> Void) {
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
      Entry(id: id, bytes: bytes, lastUse: -max(1, secondsBefore), opens: 0, isFromBefore: true))
    usedBytes += bytes
  }

  private mutating func add(_ entry: Entry) {
    slots[entry.id] = entries.count
    entries.append(entry)
    entries[entries.count - 1].isPinned = pins[entry.id] != nil
  }

  /// Bytes of it on disk, 0 if there is nothing; nil while it is being evicted.
  package func bytes(of id: FileID) -> UInt64? {
    guard let slot = slots[id] else { return 0 }
    return entries[slot].isDying ? nil : entries[slot].bytes
  }

  // MARK: Pins

  /// Pins a version, or lets go of it. What was pinned of the same key before is let go of: the path shows
  /// the other one now. False: it was so before.
  package mutating func pin(_ id: FileID, ofKey key: UInt64, _ isPinned: Bool) -> Bool {
    let before = pinsByKey[key]
    let wasPinned = pins[id] != nil || !isPinned && before != nil
    if let before, before != id { unpin(before) }
    unpin(id)
    if isPinned {
      pins[id] = key
      if key != PinList.unknownKey { pinsByKey[key] = id }
      if let slot = slots[id] { entries[slot].isPinned = true }
    }
    return wasPinned != isPinned
  }

  /// Unpins also files that can no longer be named.
  package mutating func unpinAll() { for id in Array(pins.keys) { unpin(id) } }

  private mutating func unpin(_ id: FileID) {
    guard let key = pins.removeValue(forKey: id) else { return }
    if pinsByKey[key] == id { pinsByKey[key] = nil }
    if let slot = slots[id] { entries[slot].isPinned = false }
  }

  package func isPinned(_ id: FileID) -> Bool { pins[id] != nil }
  package var pinned: [FileID: UInt64] { pins }

  // MARK: Eviction

  /// Marks a file that is to be removed. `forget` follows once it is unlinked. Nil: it is open, pinned
  /// or not there.
  package mutating func takeOut(_ id: FileID) -> Victim? {
    guard let slot = slots[id], canGo(entries[slot]) else { return nil }
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

  private func canGo(_ entry: Entry) -> Bool {
    entry.opens == 0 && !entry.isDying && !entry.isPinned && entry.bytes > 0
  }

  /// How many files are read before one is again, at a guess; nil if it must stay.
  private func distance(_ entry: Entry, _ terms: Terms, deadAfter: Int64) -> Int? {
    if entry.lastUse >= terms.usedBefore { return nil }
    if terms.policy == .lru { return .max }
    if let known = terms.nextUseOf(entry.id) {
      return (terms.after ?? terms.nextUse).map { known > $0 } == true ? known : nil
    }
    if isDead(entry, after: deadAfter) { return .max }
    guard let ours = terms.nextUse, Int64(ours) < deadAfter else { return nil }
    return Int(clamping: deadAfter)
  }

  /// What an earlier mount left is as old as this one; as long as some of it is read now and then, it is not
  /// dead.
  private func isDead(_ entry: Entry, after deadAfter: Int64) -> Bool {
    if entry.isFromBefore { return now - foundFromBefore > 2 * Int64(entries.count) }
    return now - max(0, entry.lastUse) > deadAfter
  }

  private mutating func worstOfSample(
    _ terms: Terms, heldOpen: inout Bool, using generator: inout some RandomNumberGenerator
  ) -> Int? {
    // Before anything came back, what was not opened while four times as many files were is as good as dead.
    let deadAfter = terms.deadAfter > 0 ? terms.deadAfter : 4 * Int64(entries.count)
    var best: (slot: Int, distance: Int)?
    var open = 0
    func consider(_ slot: Int) {
      let entry = entries[slot]
      if entry.isDying || entry.isPinned || entry.bytes == 0 { return }
      guard let distance = distance(entry, terms, deadAfter: deadAfter) else { return }
      guard entry.opens == 0 else {
        open += 1
        return
      }
      if let best, best.distance > distance { return }
      if let best, best.distance == distance, entries[best.slot].lastUse <= entry.lastUse { return }
      best = (slot, distance)
    }
    if entries.count <= Self.sampleSize {
      for slot in entries.indices { consider(slot) }
    } else {
      for _ in 0..<Self.sampleSize {
        // Not Int.random: its generic code takes most of the time of a choice.
        consider(Int(generator.next().multipliedFullWidth(by: UInt64(entries.count)).high))
      }
      // Few are from before a load: look at all before giving up.
      if best == nil, terms.usedBefore != .max {
        for slot in entries.indices { consider(slot) }
      } else if best == nil, open > 0 {
        // Most of the files are open.
        for _ in 0..<min(Self.scanSize, entries.count) {
          scanStart = scanStart + 1 < entries.count ? scanStart + 1 : 0
          consider(scanStart)
        }
      }
    }
    heldOpen = best == nil && open > 0
    return best?.slot
  }
}
