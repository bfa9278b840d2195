import ObjectStore
import Posix

/// The nodes that the kernel refers to: (path, version), each with its count of references.
///
/// A node's number holds the slot of a 16-byte record. The record points to an entry of a listing,
/// which has name and attributes and points back, so that a million nodes are a million records and
/// no dictionary. A node without such an entry (found by a lookup in a folder that is not listed, or
/// of a version that no listing has any more) is *loose*, and keeps name and attributes itself.
///
/// A node lives while it is referenced; the kernel keeps a reference on what it has open, so opens
/// need no count of their own.
struct InodeTable {
  typealias Slot = UInt32

  struct Loose {
    let folder: ObjectKey
    let name: [UInt8]
    var seen: Observation
    /// When the store last showed this version.
    var checked: Instant
    /// The path has another version by now, or none.
    var isStale = false
  }

  enum Home {
    case listed(DirectoryListing, Int)
    case loose(Loose)
  }

  private struct Record {
    /// Of `listings`; 0: loose.
    var listing: UInt32 = 0
    /// Of the entry; in a free record the next free slot.
    var index: UInt32 = 0
    /// 0: free. Saturated it stays, and the node with it.
    var references: UInt32 = 0
    /// How often the slot was used before: the upper half of the node's number.
    var serial: UInt32 = 0
  }

  private static let pageSize = 256
  /// Node numbers stay below 2^62, where those of the control folder begin.
  static let serialLimit: UInt32 = 1 << 30 - 1

  init(serialLimit: UInt32 = Self.serialLimit) { self.serialLimit = serialLimit }
  /// A dictionary's slot, the name and the etag.
  private static let looseCost = MemoryLayout<(Slot, Loose)>.stride * 3 / 2 + 144

  /// Uses of one slot: a test takes few.
  private let serialLimit: UInt32
  private var pages: [[Record]] = []
  private var firstFree: Slot = 0
  /// Slots that were ever used; 0 means none, 1 is the root's.
  private var used: Slot = 2
  private var listings: [DirectoryListing?] = [nil]
  private var freeListings: [UInt32] = []
  private var loose: [Slot: Loose] = [:]
  /// Listed nodes whose version was seen again after the listing.
  private var confirmed: [Slot: Instant] = [:]
  private(set) var count = 0

  var bytes: Int {
    pages.count * Self.pageSize * MemoryLayout<Record>.stride + loose.count * Self.looseCost
      + confirmed.count * 32 + listings.count * 8
  }

  /// The slot of a node that lives.
  func slot(of id: NodeID) -> Slot? {
    let slot = Slot(truncatingIfNeeded: id)
    guard slot >= 2, slot < used else { return nil }
    let record = self[slot]
    return record.references > 0 && UInt64(record.serial) == id >> 32 ? slot : nil
  }

  func id(of slot: Slot) -> NodeID { UInt64(self[slot].serial) << 32 | UInt64(slot) }

  func home(of slot: Slot) -> Home {
    let record = self[slot]
    if record.listing == 0 { return .loose(loose[slot]!) }
    return .listed(listings[Int(record.listing)]!, Int(record.index))
  }

  func checked(_ slot: Slot) -> Instant {
    switch home(of: slot) {
    case .loose(let loose): loose.checked
    case .listed(let generation, _): max(generation.started, confirmed[slot] ?? generation.started)
    }
  }

  func isStale(_ slot: Slot) -> Bool {
    self[slot].listing == 0 && loose[slot]!.isStale
  }

  mutating func refer(to slot: Slot) {
    if self[slot].references < .max { self[slot].references += 1 }
  }

  /// A new node, with one reference, of an entry that has none.
  mutating func add(_ generation: DirectoryListing, _ index: Int, _ place: DirentTable.Place)
    -> Slot
  {
    let slot = newSlot()
    settle(slot, in: generation, index, place)
    return slot
  }

  /// A new node, with one reference.
  mutating func add(_ node: Loose) -> Slot {
    let slot = newSlot()
    loose[slot] = node
    return slot
  }

  /// The store was seen to have the node's version at a time.
  mutating func confirm(_ slot: Slot, at time: Instant) {
    if self[slot].listing == 0 {
      if loose[slot]!.checked < time { loose[slot]!.checked = time }
    } else if checked(slot) < time {
      confirmed[slot] = time
    }
  }

  /// Makes an entry that has no node the home of a node.
  mutating func move(
    _ slot: Slot, to generation: DirectoryListing, _ index: Int, _ place: DirentTable.Place
  ) {
    let checked = checked(slot)
    leave(slot)
    settle(slot, in: generation, index, place)
    if checked > generation.started { confirmed[slot] = checked }
  }

  /// Takes a node out of its listing.
  mutating func loosen(_ slot: Slot) {
    guard case .listed(let generation, let index) = home(of: slot) else { return }
    let place = generation[index]
    let node = Loose(
      folder: generation.folder, name: Array(place.name), seen: place.seen, checked: checked(slot))
    leave(slot)
    loose[slot] = node
  }

  /// The path has another version, or none: the node is of the past.
  mutating func expire(_ slot: Slot) {
    loosen(slot)
    loose[slot]!.isStale = true
  }

  /// Gives references back; at 0 the node is gone and its last home is returned. More than were
  /// taken count as all of them.
  mutating func forget(_ id: NodeID, count given: UInt64) -> Home? {
    guard let slot = slot(of: id), self[slot].references < .max else { return nil }
    self[slot].references -= UInt32(clamping: min(given, UInt64(self[slot].references)))
    if self[slot].references > 0 { return nil }
    let home = home(of: slot)
    leave(slot)
    self[slot].index = firstFree
    // A slot whose serial is used up is not used again: no number comes twice.
    if self[slot].serial < serialLimit {
      self[slot].serial += 1
      firstFree = slot
    }
    count -= 1
    return home
  }

  private mutating func newSlot() -> Slot {
    count += 1
    if firstFree != 0 {
      let slot = firstFree
      firstFree = self[slot].index
      self[slot].index = 0
      self[slot].references = 1
      return slot
    }
    let slot = used
    used += 1
    if Int(slot) / Self.pageSize >= pages.count {
      pages.append(Array(repeating: Record(), count: Self.pageSize))
    }
    self[slot].references = 1
    return slot
  }

  private mutating func settle(
    _ slot: Slot, in generation: DirectoryListing, _ index: Int, _ place: DirentTable.Place
  ) {
    if generation.nodes.number == 0 {
      if let free = freeListings.popLast() {
        generation.nodes.number = free
        listings[Int(free)] = generation
      } else {
        generation.nodes.number = UInt32(listings.count)
        listings.append(generation)
      }
    }
    generation.nodes.count += 1
    self[slot].listing = generation.nodes.number
    self[slot].index = UInt32(index)
    place.chunk.setNode(slot, at: place.offset)
  }

  private mutating func leave(_ slot: Slot) {
    confirmed[slot] = nil
    guard case .listed(let generation, let index) = home(of: slot) else {
      loose[slot] = nil
      return
    }
    let place = generation[index]
    if place.chunk.node(at: place.offset) == slot { place.chunk.setNode(0, at: place.offset) }
    self[slot].listing = 0
    generation.nodes.count -= 1
    if generation.nodes.count == 0 {
      listings[Int(generation.nodes.number)] = nil
      freeListings.append(generation.nodes.number)
      generation.nodes.number = 0
    }
  }

  private subscript(slot: Slot) -> Record {
    get { pages[Int(slot) / Self.pageSize][Int(slot) % Self.pageSize] }
    _modify { yield &pages[Int(slot) / Self.pageSize][Int(slot) % Self.pageSize] }
  }
}
