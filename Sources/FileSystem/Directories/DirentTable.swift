import ObjectStore

/// The entries of one listing of a folder, in blocks that are never moved.
///
/// Sorted by name as if "/" followed each. A store whose pages are out of order gives a second
/// sorted run behind the first, so that what readdir has already shown keeps its place.
struct DirentTable {
  /// An entry's place.
  struct Dirent {
    var block: DirentBlock
    var offset: Int
    /// A copy.
    let entry: DirentBlock.Entry

    init(_ block: DirentBlock, _ offset: Int) {
      self.block = block
      self.offset = offset
      entry = block[offset]
    }

    var name: UnsafeRawBufferPointer { block.name(entry) }
    var seen: Observation { block.seen(entry) }
    var isFolder: Bool { entry.flags.contains(.folder) }
  }

  private var blocks: [DirentBlock] = []
  /// Of each block, the index of its first entry.
  private var starts: [Int] = []
  private var filling = DirentBlock.Filling()
  private var sealed = 0
  /// The block with which the second run starts.
  private var secondRun: Int?
  private var secondRunStart: Int?
  private var bytes = 0
  /// The indices of folders, in order: few even where names are many.
  private(set) var folders: [UInt32] = []
  /// Of all entries in their order: two listings with one digest and one count have the same entries.
  private(set) var digest: UInt64 = 0xcbf2_9ce4_8422_2325

  init() {}

  /// Of blocks that were kept.
  init(_ kept: [DirentBlock], digest: UInt64) {
    for block in kept {
      starts.append(sealed)
      for offset in 0..<block.count where block[offset].flags.contains(.folder) {
        folders.append(UInt32(sealed + offset))
      }
      blocks.append(block)
      sealed += block.count
      bytes += block.bytes
    }
    self.digest = digest
  }

  /// Entries that can be seen, by name and by index.
  var count: Int { sealed }

  mutating func append(_ item: ListingBuilder.Item) {
    if item.isFolder { folders.append(UInt32(sealed + filling.count)) }
    filling.append(item)
    digest = digest.mixed(item.name).mixed(item.etag)
    digest = (digest ^ (item.size ?? .max)) &* 0x9fb2_1c65_1e98_df25
    digest = (digest ^ UInt64(bitPattern: item.modified)) &* 0x9fb2_1c65_1e98_df25
    digest = (digest ^ (item.isFolder ? 1 : 0) ^ (item.isArchived ? 2 : 0)) &* 0x9fb2_1c65_1e98_df25
    digest ^= digest >> 29
    if filling.isFull { seal() }
  }

  /// Makes what was appended visible.
  mutating func seal() {
    guard filling.count > 0 else { return }
    let block = DirentBlock(filling)
    filling.removeAll()
    starts.append(sealed)
    blocks.append(block)
    sealed += block.count
    bytes += block.bytes
  }

  /// What it all occupies.
  var heldBytes: Int { bytes + 4 * folders.capacity + 16 * blocks.capacity }

  mutating func startSecondRun() {
    seal()
    secondRun = blocks.count
    secondRunStart = sealed
  }

  /// Turns files into folders, each index once. One merge for all of them: there may be as many as entries.
  mutating func turnIntoFolders(_ indices: [Int]) {
    guard !indices.isEmpty else { return }
    let turned = indices.sorted()
    for index in turned {
      let place = self[index]
      var entry = place.entry
      entry.flags = .folder
      entry.etagKind = .verbatim
      entry.etagLength = 0
      entry.size = 0
      place.block[place.offset] = entry
      digest = (digest ^ UInt64(index)) &* 0x9fb2_1c65_1e98_df25
    }
    var merged: [UInt32] = []
    merged.reserveCapacity(folders.count + turned.count)
    var next = 0
    for folder in folders {
      while next < turned.count, turned[next] < folder {
        merged.append(UInt32(turned[next]))
        next += 1
      }
      merged.append(folder)
    }
    merged += turned[next...].map { UInt32($0) }
    folders = merged
  }

  /// Nothing follows: gives back what filling reserved.
  mutating func finish() {
    seal()
    filling = DirentBlock.Filling()
  }

  subscript(index: Int) -> Dirent {
    var low = 0
    var high = starts.count
    while high - low > 1 {
      let middle = (low + high) / 2
      if starts[middle] <= index { low = middle } else { high = middle }
    }
    return Dirent(blocks[low], index - starts[low])
  }

  /// The entries from `index` to the end of their block.
  func run(from index: Int) -> (block: DirentBlock, range: Range<Int>)? {
    guard index < sealed else { return nil }
    let place = self[index]
    return (place.block, place.offset..<place.block.count)
  }

  func index(of name: UnsafeRawBufferPointer) -> Int? {
    let middle = secondRun ?? blocks.count
    return search(name, in: 0..<middle) ?? search(name, in: middle..<blocks.count)
  }

  func index(of name: [UInt8]) -> Int? { name.withUnsafeBytes { index(of: $0) } }

  private func search(_ name: UnsafeRawBufferPointer, in run: Range<Int>) -> Int? {
    guard !run.isEmpty else { return nil }
    // The last block whose first name is not behind it.
    var low = run.lowerBound
    var high = run.upperBound
    while high - low > 1 {
      let middle = (low + high) / 2
      let block = blocks[middle]
      if NameRules.order(block.name(block[0]), name) <= 0 { low = middle } else { high = middle }
    }
    let block = blocks[low]
    var first = 0
    var last = block.count
    while first < last {
      let middle = (first + last) / 2
      let order = NameRules.order(block.name(block[middle]), name)
      if order == 0 { return starts[low] + middle }
      if order < 0 { first = middle + 1 } else { last = middle }
    }
    return nil
  }
}

extension UInt64 {
  /// Eight bytes a step. It distinguishes contents; it does not resist deliberate collisions.
  fileprivate func mixed(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
    var hash = (self ^ UInt64(bytes.count)) &* 0x9fb2_1c65_1e98_df25
    var offset = 0
    while offset + 8 <= bytes.count {
      hash =
        (hash ^ bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
        &* 0x9fb2_1c65_1e98_df25
      hash ^= hash >> 32
      offset += 8
    }
    while offset < bytes.count {
      hash = (hash ^ UInt64(bytes[offset])) &* 0x0000_0100_0000_01b3
      offset += 1
    }
    return hash ^ hash >> 29
  }
}
