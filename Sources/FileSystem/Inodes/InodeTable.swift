import ObjectStore
import Posix

/// The inodes that the kernel refers to: each a (path, version) with its count of lookups.
///
/// An inode's number holds the index of a 16-byte record and how often that was used before, so that no number comes
/// twice. The record says which entry of which listing has name and attributes; an array for each listing that has
/// inodes says which inode an entry has. So a million inodes are a million records and no dictionary. An inode without
/// such an entry (found by a lookup in a directory that is not listed, or of a version that no listing has any more)
/// is *unlisted*, keeps name and attributes itself, and is found by its path unless it is stale.
///
/// Pure: it knows listings by their numbers alone. An inode lives while the kernel refers to it; the kernel keeps a
/// reference on what it has open, so opens need no count of their own.
struct InodeTable {
  typealias Index = UInt32

  private struct Record {
    /// The slot of its listing; 0: unlisted.
    var listing: UInt32 = 0
    /// In the listing; in a free record the next free index.
    var entry: UInt32 = 0
    /// 0: free. Saturated it stays, and the inode with it.
    var references: UInt32 = 0
    /// How often the record was used before: the upper half of the inode's number.
    var serial: UInt32 = 0
  }

  /// The inodes of a listing's entries.
  private struct Listed {
    var listing = ListingID(slot: 0, serial: 0)
    /// By entry, 0 for none; as long as there ever was need for.
    var inodes: [Index] = []
    /// Entries that have one.
    var count = 0
  }

  private static let recordsPerPage = 256
  /// Inode numbers stay below 2^62, where those of the control directory begin.
  static let serialLimit: UInt32 = 1 << 30 - 1
  /// Two dictionaries' slots, the name and the etag.
  private static let unlistedCost = MemoryLayout<(Index, Unlisted)>.stride * 3 / 2 + 144

  init(serialLimit: UInt32 = Self.serialLimit) { self.serialLimit = serialLimit }

  /// Uses of one record: a test takes few.
  private let serialLimit: UInt32
  private var pages: [[Record]] = []
  private var firstFree: Index = 0
  /// Records that were ever used; 0 means none, 1 is the root's.
  private var used: Index = 2
  /// By the slot of the listing.
  private var listings: [Listed] = []
  /// Entries for which there is space in `listings`.
  private var listedEntries = 0
  private var unlisted: [Index: Unlisted] = [:]
  /// Those of `unlisted` that are not stale, by directory and name.
  private var paths: [ObjectKey: [[UInt8]: Index]] = [:]
  /// Listed inodes whose version was seen again after the listing.
  private var confirmed: [Index: Instant] = [:]
  private(set) var count = 0

  var bytes: Int {
    pages.count * Self.recordsPerPage * MemoryLayout<Record>.stride
      + unlisted.count * Self.unlistedCost + confirmed.count * 32
      + listings.count * MemoryLayout<Listed>.stride + listedEntries * MemoryLayout<Index>.stride
  }

  // MARK: Finding

  /// The inode of a number, while it lives.
  func resolve(_ id: NodeID) -> Index? {
    let index = Index(truncatingIfNeeded: id)
    guard index >= 2, index < used else { return nil }
    let record = self[index]
    return record.references > 0 && UInt64(record.serial) == id >> 32 ? index : nil
  }

  func id(of index: Index) -> NodeID { UInt64(self[index].serial) << 32 | UInt64(index) }

  func location(of index: Index) -> Location {
    let record = self[index]
    if record.listing == 0 { return .unlisted(unlisted[index]!) }
    return .listed(listings[Int(record.listing)].listing, entry: Int(record.entry))
  }

  func isStale(_ index: Index) -> Bool {
    self[index].listing == 0 && unlisted[index]!.isStale
  }

  /// When the version of a listed inode was seen after its listing; nil if it was not.
  func confirmation(of index: Index) -> Instant? { confirmed[index] }

  /// The inode of a listing's entry.
  func inode(atEntry entry: Int, of listing: ListingID) -> Index? {
    guard let slot = slot(of: listing) else { return nil }
    let inodes = listings[slot].inodes
    guard entry < inodes.count, inodes[entry] != 0 else { return nil }
    return inodes[entry]
  }

  /// The unlisted inode of a path.
  func inode(named name: [UInt8], in directory: ObjectKey) -> Index? {
    if paths.isEmpty { return nil }
    return paths[directory]?[name]
  }

  func hasUnlisted(in directory: ObjectKey) -> Bool {
    !paths.isEmpty && paths[directory] != nil
  }

  /// The unlisted inodes of a directory that are not stale.
  func unlisted(in directory: ObjectKey) -> [[UInt8]: Index] { paths[directory] ?? [:] }

  /// Entries of a listing that have an inode.
  func count(of listing: ListingID) -> Int {
    slot(of: listing).map { listings[$0].count } ?? 0
  }

  /// What goes with a listing, the inodes themselves aside.
  func bytes(of listing: ListingID) -> Int {
    slot(of: listing).map { listings[$0].inodes.count * MemoryLayout<Index>.stride } ?? 0
  }

  /// Where the inodes of a listing's entries are; nil if none ever had one.
  private func slot(of listing: ListingID) -> Int? {
    let slot = Int(listing.slot)
    return slot < listings.count && listings[slot].listing == listing ? slot : nil
  }

  /// The first entry of a listing that has an inode, from `entry` on.
  func nextEntry(of listing: ListingID, from entry: Int) -> (entry: Int, inode: Index)? {
    guard count(of: listing) > 0 else { return nil }
    let inodes = listings[Int(listing.slot)].inodes
    let found = inodes[min(entry, inodes.count)...].firstIndex { $0 != 0 }
    return found.map { ($0, inodes[$0]) }
  }

  // MARK: References

  /// One reference more.
  mutating func retain(_ index: Index) {
    if self[index].references < .max { self[index].references += 1 }
  }

  /// A new inode with one reference, of an entry that has none. `count`: entries that the listing has by now; asked for
  /// where there is no space for the entry.
  mutating func add(
    _ entry: Int, of listing: ListingID, count: @autoclosure () -> Int
  ) -> Index {
    let index = newRecord()
    attach(index, to: entry, of: listing, count)
    return index
  }

  /// A new inode with one reference.
  mutating func add(_ inode: Unlisted) -> Index {
    let index = newRecord()
    keep(index, as: inode)
    return index
  }

  /// Gives references back; at 0 the inode is gone, and where it was last is returned. More than there are count as
  /// all of them.
  mutating func release(_ id: NodeID, count given: UInt64) -> Location? {
    guard let index = resolve(id), self[index].references < .max else { return nil }
    self[index].references -= UInt32(clamping: min(given, UInt64(self[index].references)))
    if self[index].references > 0 { return nil }
    let location = location(of: index)
    detach(index)
    self[index].entry = firstFree
    // A record whose serials are used up is not used again: no number comes twice.
    if self[index].serial < serialLimit {
      self[index].serial += 1
      firstFree = index
    }
    count -= 1
    return location
  }

  // MARK: Locations

  /// The store was seen to have the inode's version at a time. The caller gives none that is older than the listing.
  mutating func confirm(_ index: Index, at time: Instant) {
    if self[index].listing == 0 {
      unlisted[index]!.checked = max(unlisted[index]!.checked, time)
    } else {
      confirmed[index] = max(confirmed[index] ?? time, time)
    }
  }

  /// Makes an entry that has no inode the location of one. `confirmed`: when the version was seen, if that was after
  /// the listing began.
  mutating func move(
    _ index: Index, to entry: Int, of listing: ListingID, count: @autoclosure () -> Int,
    confirmed time: Instant?
  ) {
    detach(index)
    attach(index, to: entry, of: listing, count)
    confirmed[index] = time
  }

  /// Takes an inode out of its listing; `inode` is what the listing had of it.
  mutating func unlist(_ index: Index, as inode: Unlisted) {
    detach(index)
    keep(index, as: inode)
  }

  /// The path of an unlisted inode has another version, or none: the inode is of the past.
  mutating func expire(_ index: Index) {
    removePath(of: index)
    unlisted[index]!.isStale = true
  }

  /// A listing left the cache. None of its entries may have an inode any more.
  mutating func remove(_ listing: ListingID) {
    guard let slot = slot(of: listing) else { return }
    assert(listings[slot].count == 0)
    listedEntries -= listings[slot].inodes.count
    listings[slot] = Listed()
  }

  // MARK: Records

  private mutating func newRecord() -> Index {
    count += 1
    if firstFree != 0 {
      let index = firstFree
      firstFree = self[index].entry
      self[index].entry = 0
      self[index].references = 1
      return index
    }
    let index = used
    used += 1
    if Int(index) / Self.recordsPerPage >= pages.count {
      pages.append(Array(repeating: Record(), count: Self.recordsPerPage))
    }
    self[index].references = 1
    return index
  }

  private mutating func keep(_ index: Index, as inode: Unlisted) {
    unlisted[index] = inode
    if !inode.isStale { paths[inode.directory, default: [:]][inode.name] = index }
  }

  private mutating func removePath(of index: Index) {
    guard let inode = unlisted[index], !inode.isStale else { return }
    paths[inode.directory]?[inode.name] = nil
    if paths[inode.directory]?.isEmpty == true { paths[inode.directory] = nil }
  }

  private mutating func attach(
    _ index: Index, to entry: Int, of listing: ListingID, _ count: () -> Int
  ) {
    let slot = Int(listing.slot)
    while listings.count <= slot { listings.append(Listed()) }
    assert(listings[slot].count == 0 || listings[slot].listing == listing)
    listings[slot].listing = listing
    if entry >= listings[slot].inodes.count { reserve(max(count(), entry + 1), at: slot) }
    listings[slot].inodes[entry] = index
    listings[slot].count += 1
    self[index].listing = listing.slot
    self[index].entry = UInt32(entry)
  }

  /// Space for the inodes of so many entries. Exactly that at first, since most listings are complete by then; a
  /// quarter more where a listing grows, so that one of a million names is not copied with each page.
  private mutating func reserve(_ entries: Int, at slot: Int) {
    let held = listings[slot].inodes.count
    let size = max(entries, held + held / 4)
    var inodes: [Index] = []
    inodes.reserveCapacity(size)
    inodes += listings[slot].inodes
    inodes += repeatElement(0, count: size - held)
    listings[slot].inodes = inodes
    listedEntries += size - held
  }

  private mutating func detach(_ index: Index) {
    let record = self[index]
    guard record.listing != 0 else {
      removePath(of: index)
      unlisted[index] = nil
      return
    }
    confirmed[index] = nil
    listings[Int(record.listing)].inodes[Int(record.entry)] = 0
    listings[Int(record.listing)].count -= 1
    self[index].listing = 0
  }

  private subscript(index: Index) -> Record {
    get { pages[Int(index) / Self.recordsPerPage][Int(index) % Self.recordsPerPage] }
    _modify {
      yield &pages[Int(index) / Self.recordsPerPage][Int(index) % Self.recordsPerPage]
    }
  }
}
