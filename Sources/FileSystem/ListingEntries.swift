import ObjectStore

/// The names of a folder in compact form: 24 bytes an entry, and one blob of names and etags.
///
/// Sorted by name as if "/" followed each. A store whose pages are out of order gives a second
/// sorted run behind the first, so that what readdir has already shown keeps its place.
struct ListingEntries {
  struct Flags: OptionSet {
    var rawValue: UInt8
    static let folder = Flags(rawValue: 1)
    static let archived = Flags(rawValue: 2)
    /// Size or etag are not known from the listing.
    static let needsHead = Flags(rawValue: 4)
  }

  struct Entry {
    var start: UInt32
    var etagLength: UInt16
    var nameLength: UInt8
    var flags: Flags
    var size: UInt64
    var modified: Int64
  }

  private(set) var entries: [Entry] = []
  private var blob: [UInt8] = []
  /// Where the second run starts; `count` while there is none.
  private(set) var secondRun: Int?

  var count: Int { entries.count }
  /// What the arrays occupy.
  var bytes: Int { entries.capacity * MemoryLayout<Entry>.stride + blob.capacity }

  mutating func append(name: ArraySlice<UInt8>, _ seen: Seen) {
    var flags: Flags = []
    var etag = Array(seen.etag.utf8)
    if seen.kind == .folder { flags.insert(.folder) }
    if seen.isArchived { flags.insert(.archived) }
    if seen.size == nil || etag.count > Int(UInt16.max) {
      flags.insert(.needsHead)
      etag = []
    }
    entries.append(
      Entry(
        start: UInt32(blob.count), etagLength: UInt16(etag.count), nameLength: UInt8(name.count),
        flags: flags, size: seen.size ?? 0, modified: seen.modified))
    blob.append(contentsOf: name)
    blob.append(contentsOf: etag)
  }

  /// False when the blob would pass what its 32-bit positions reach (4 GiB, some 50 million names).
  func hasRoom(for name: Int, etag: Int) -> Bool { blob.count + name + etag < Int(UInt32.max) }

  mutating func startSecondRun() { secondRun = count }

  mutating func turnIntoFolder(_ index: Int) {
    entries[index].flags = .folder
    entries[index].size = 0
  }

  func name(_ index: Int) -> ArraySlice<UInt8> {
    let entry = entries[index]
    return blob[Int(entry.start)..<Int(entry.start) + Int(entry.nameLength)]
  }

  func isFolder(_ index: Int) -> Bool { entries[index].flags.contains(.folder) }

  func seen(_ index: Int) -> Seen {
    let entry = entries[index]
    if entry.flags.contains(.folder) { return .folder }
    let start = Int(entry.start) + Int(entry.nameLength)
    let etag = blob[start..<start + Int(entry.etagLength)]
    return Seen(
      kind: .file, size: entry.flags.contains(.needsHead) ? nil : entry.size,
      modified: entry.modified, etag: String(decoding: etag, as: UTF8.self),
      isArchived: entry.flags.contains(.archived))
  }

  func index(of name: some Collection<UInt8>) -> Int? {
    let middle = secondRun ?? count
    return search(name, in: 0..<middle) ?? search(name, in: middle..<count)
  }

  private func search(_ name: some Collection<UInt8>, in range: Range<Int>) -> Int? {
    var low = range.lowerBound
    var high = range.upperBound
    while low < high {
      let middle = (low + high) / 2
      if NameRules.precedes(self.name(middle), name) { low = middle + 1 } else { high = middle }
    }
    return low < range.upperBound && self.name(low).elementsEqual(name) ? low : nil
  }

  /// Gives back what growing reserved too much, once no more come.
  mutating func compact() {
    if entries.capacity > entries.count + entries.count / 8 { entries = Self.exact(entries) }
    if blob.capacity > blob.count + blob.count / 8 { blob = Self.exact(blob) }
  }

  private static func exact<Element>(_ array: [Element]) -> [Element] {
    var copy: [Element] = []
    copy.reserveCapacity(array.count)
    copy.append(contentsOf: array)
    return copy
  }
}
