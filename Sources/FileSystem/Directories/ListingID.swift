/// The number of a listing in the life of a mount, never used twice: a place in tables, and how often that place was
/// used before.
///
/// What refers to a listing holds this and not the listing, so that a record of an inode is 16 bytes and an inode
/// table can be driven without any listing at all.
struct ListingID: Hashable, Sendable {
  /// From 1 on.
  var slot: UInt32
  var serial: UInt32
}

/// Gives out the numbers of listings.
struct ListingIDs {
  private var serials: [UInt32] = []
  private var free: [UInt32] = []

  mutating func allocate() -> ListingID {
    if let slot = free.popLast() { return ListingID(slot: slot, serial: serials[Int(slot) - 1]) }
    serials.append(0)
    return ListingID(slot: UInt32(serials.count), serial: 0)
  }

  /// The listing left the cache. A slot whose serials are used up is not used again.
  mutating func release(_ id: ListingID) {
    guard id.serial < .max else { return }
    serials[Int(id.slot) - 1] = id.serial + 1
    free.append(id.slot)
  }
}
