import Glibc
import ObjectStore

/// Names and attributes of consecutive entries of a listing, packed into one block of memory: 20
/// bytes an entry, its name, and its etag (16 bytes where it is an MD5).
///
/// Names and etags never move or change, so a reader may keep the block and read them without a lock.
/// Entries change where a late page turns a file into a directory, under the listing's lock.
final class DirentBlock: @unchecked Sendable {
  struct Flags: OptionSet {
    var rawValue: UInt8
    static let folder = Flags(rawValue: 1)
    static let archived = Flags(rawValue: 2)
    /// Size or etag are not known from the listing.
    static let needsHead = Flags(rawValue: 4)
    /// The time does not fit: eight bytes of it stand behind the etag.
    static let longTime = Flags(rawValue: 8)

    static let all: Flags = [.folder, .archived, .needsHead, .longTime]
  }

  struct Entry {
    private var sizeLow: UInt32
    private var sizeHigh: UInt32
    /// Seconds since 1970.
    var modified: UInt32
    /// Of the name, in the bytes behind the entries.
    var start: UInt32
    var nameLength: UInt8
    var flags: Flags
    /// A byte and not the enum: entries that were kept on disk are read as they lie there.
    private var etagKindByte = PackedETag.Kind.verbatim.rawValue
    var etagLength: UInt8 = 0

    var etagKind: PackedETag.Kind {
      get { PackedETag.Kind(rawValue: etagKindByte) ?? .verbatim }
      set { etagKindByte = newValue.rawValue }
    }

    /// Two halves: with a whole one each entry would be four bytes larger.
    var size: UInt64 {
      get { UInt64(sizeHigh) << 32 | UInt64(sizeLow) }
      set {
        sizeLow = UInt32(truncatingIfNeeded: newValue)
        sizeHigh = UInt32(newValue >> 32)
      }
    }

    var hasKnownETagKind: Bool { PackedETag.Kind(rawValue: etagKindByte) != nil }

    init(size: UInt64, modified: Int64, start: Int, nameLength: Int, flags: Flags) {
      sizeLow = 0
      sizeHigh = 0
      self.modified = UInt32(clamping: modified)
      self.start = UInt32(start)
      self.nameLength = UInt8(nameLength)
      self.flags = flags
      self.size = size
    }
  }

  let count: Int
  /// All that it occupies, the allocator's and the object's own overhead included.
  let bytes: Int
  private let memory: UnsafeMutableRawPointer
  private let entries: UnsafeMutablePointer<Entry>
  private let blob: UnsafeMutableRawPointer
  private let blobLength: Int

  init(_ filled: Filling) {
    count = filled.entries.count
    let size = count * MemoryLayout<Entry>.stride
    memory = .allocate(byteCount: max(size + filled.blob.count, 1), alignment: 8)
    bytes = size + filled.blob.count + 96
    entries = memory.bindMemory(to: Entry.self, capacity: count)
    blob = memory + size
    blobLength = filled.blob.count
    filled.entries.withUnsafeBufferPointer { source in
      if let base = source.baseAddress { entries.update(from: base, count: source.count) }
    }
    filled.blob.withUnsafeBytes { source in
      if let base = source.baseAddress { blob.copyMemory(from: base, byteCount: source.count) }
    }
  }

  /// From bytes that were kept; nil if they are not what a block of our own can be.
  init?(entries bytes: UnsafeRawBufferPointer, count: Int, blob source: UnsafeRawBufferPointer) {
    guard count >= 0, bytes.count == count * MemoryLayout<Entry>.stride else { return nil }
    self.count = count
    let size = count * MemoryLayout<Entry>.stride
    memory = .allocate(byteCount: max(size + source.count, 1), alignment: 8)
    self.bytes = size + source.count + 96
    if let base = bytes.baseAddress { memory.copyMemory(from: base, byteCount: bytes.count) }
    entries = memory.bindMemory(to: Entry.self, capacity: count)
    blob = memory + size
    blobLength = source.count
    if let base = source.baseAddress { blob.copyMemory(from: base, byteCount: source.count) }
    guard isSound else { return nil }
  }

  /// Every entry lies within the block, is one that `Filling` makes, and follows the one before.
  private var isSound: Bool {
    for index in 0..<count {
      guard isSound(entries[index]) else { return false }
      if index > 0, NameRules.order(name(entries[index - 1]), name(entries[index])) >= 0 {
        return false
      }
    }
    return true
  }

  private func isSound(_ entry: Entry) -> Bool {
    let end =
      Int(entry.start) + Int(entry.nameLength) + Int(entry.etagLength)
      + (entry.flags.contains(.longTime) ? 8 : 0)
    guard end <= blobLength, entry.flags.isSubset(of: .all), entry.hasKnownETagKind,
      NameRules.isReachable(name(entry)), ObjectSize.isReadable(entry.size),
      ObjectTime.checked(modified(entry)) != nil
    else { return false }
    return PackedETag.isWhole(etag(entry), entry.etagKind)
  }

  deinit { memory.deallocate() }

  /// For keeping.
  var entryBytes: UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(UnsafeBufferPointer(start: entries, count: count))
  }
  var blobBytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: blob, count: blobLength) }

  subscript(index: Int) -> Entry {
    get { entries[index] }
    set { entries[index] = newValue }
  }

  func name(_ entry: Entry) -> UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(start: blob + Int(entry.start), count: Int(entry.nameLength))
  }

  func etag(_ entry: Entry) -> UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(
      start: blob + Int(entry.start) + Int(entry.nameLength), count: Int(entry.etagLength))
  }

  func modified(_ entry: Entry) -> Int64 {
    guard entry.flags.contains(.longTime) else { return Int64(entry.modified) }
    let place = Int(entry.start) + Int(entry.nameLength) + Int(entry.etagLength)
    return blob.loadUnaligned(fromByteOffset: place, as: Int64.self)
  }

  func seen(_ entry: Entry) -> Observation {
    if entry.flags.contains(.folder) {
      return .folder(etag: PackedETag.unpack(etag(entry), entry.etagKind))
    }
    return Observation(
      kind: .file, size: entry.flags.contains(.needsHead) ? nil : entry.size,
      modified: modified(entry), etag: PackedETag.unpack(etag(entry), entry.etagKind),
      isArchived: entry.flags.contains(.archived))
  }

  /// As `Observation.isSameVersion`, without making one.
  func isSameVersion(_ entry: Entry, as other: DirentBlock, _ otherEntry: Entry) -> Bool {
    let isFolder = entry.flags.contains(.folder)
    if isFolder != otherEntry.flags.contains(.folder) { return false }
    if isFolder {
      return etag(entry).elementsEqual(other.etag(otherEntry))
    }
    guard entry.size == otherEntry.size, entry.etagKind == otherEntry.etagKind,
      entry.etagLength == otherEntry.etagLength,
      entry.flags.contains(.needsHead) == otherEntry.flags.contains(.needsHead)
    else { return false }
    let length = Int(entry.etagLength)
    if length == 0 { return modified(entry) == other.modified(otherEntry) }
    return memcmp(etag(entry).baseAddress!, other.etag(otherEntry).baseAddress!, length) == 0
  }

  /// A block being filled.
  struct Filling {
    fileprivate(set) var entries: [Entry] = []
    fileprivate(set) var blob: [UInt8] = []

    var count: Int { entries.count }
    /// Entries, and bytes of their names and etags: a block is full with the first of them.
    static let countLimit = 16_384
    static let blobLimit = 64 << 20
    /// Bytes of one entry's name, etag and time at most.
    static let entryLimit = 1024

    var isFull: Bool { entries.count >= Self.countLimit || blob.count >= Self.blobLimit }

    mutating func reserve(_ count: Int) { entries.reserveCapacity(count) }

    mutating func append(_ item: ListingBuilder.Item) {
      var flags: Flags = []
      if item.isFolder { flags.insert(.folder) }
      if item.isArchived { flags.insert(.archived) }
      var entry = Entry(
        size: item.size ?? 0, modified: item.modified, start: blob.count,
        nameLength: item.name.count, flags: flags)
      blob.append(contentsOf: item.name)
      if item.isFolder {
        blob.append(contentsOf: item.etag.prefix(PackedETag.limit))
        entry.etagLength = UInt8(min(item.etag.count, PackedETag.limit))
        entries.append(entry)
        return
      }
      if item.size == nil || item.etag.count > PackedETag.limit {
        entry.flags.insert(.needsHead)
      } else {
        let start = blob.count
        entry.etagKind = PackedETag.pack(item.etag, into: &blob)
        entry.etagLength = UInt8(blob.count - start)
      }
      if item.modified != Int64(entry.modified) {
        entry.flags.insert(.longTime)
        withUnsafeBytes(of: item.modified) { blob.append(contentsOf: $0) }
      }
      entries.append(entry)
    }

    mutating func removeAll() {
      entries.removeAll(keepingCapacity: true)
      blob.removeAll(keepingCapacity: true)
    }
  }
}
