/// Folders of objects that exist in name only: a million keys that take no room, made when they are
/// asked for. Names, sizes, times and ETags follow from an object's place; none is like its neighbour's,
/// and the names are already in the order of their bytes.
///
///     PREFIX/folder-000012/00000345-93ad07f1c6...e2.jpg
struct SyntheticTree: Sendable {
  struct Bad: Error, CustomStringConvertible {
    var description: String
  }

  /// Empty, or ends with "/".
  let prefix: [UInt8]
  /// 0: the objects lie flat below the prefix.
  let folders: Int
  /// In each folder.
  let files: Int
  /// Of an object's last component, bytes.
  let nameLength: Int

  private static let folderDigits = 6
  private static let fileDigits = 8
  private static let stem = Array("folder-".utf8)
  private static let ending = Array(".jpg".utf8)
  /// 1 November 2023.
  private static let firstTime = 1_698_796_800

  /// `nameLength`: 8 bytes (the number alone) to 255, which is the longest a folder may hold.
  init(prefix: [UInt8], folders: Int, files: Int, nameLength: Int = 40) throws {
    guard (0...999_999).contains(folders), (1...99_999_999).contains(files) else {
      throw Bad(description: "a tree has 0 to 999999 folders of 1 to 99999999 files")
    }
    guard (Self.fileDigits...255).contains(nameLength) else {
      throw Bad(description: "a tree's names have 8 to 255 bytes")
    }
    self.prefix = prefix.isEmpty || prefix.last == 0x2f ? prefix : prefix + [0x2f]
    self.folders = folders
    self.files = files
    self.nameLength = nameLength
  }

  /// Of objects.
  var count: Int { max(1, folders) * files }

  /// Bytes of a key up to and with the "/" of its folder.
  private var folderLength: Int {
    prefix.count + (folders > 0 ? Self.stem.count + Self.folderDigits + 1 : 0)
  }

  // MARK: Keys

  /// `key` becomes that of object `index`.
  func setKey(_ index: Int, in key: inout [UInt8]) {
    key.removeAll(keepingCapacity: true)
    key.append(contentsOf: prefix)
    let (folder, file) = index.quotientAndRemainder(dividingBy: files)
    if folders > 0 {
      key.append(contentsOf: Self.stem)
      Self.add(folder, digits: Self.folderDigits, to: &key)
      key.append(0x2f)
    }
    Self.add(file, digits: Self.fileDigits, to: &key)
    addFill(index, to: &key)
  }

  func key(_ index: Int) -> [UInt8] {
    var key: [UInt8] = []
    setKey(index, in: &key)
    return key
  }

  /// What makes names differ in more than a number: a dash and random digits, an ending if it fits.
  private func addFill(_ index: Int, to key: inout [UInt8]) {
    var left = nameLength - Self.fileDigits
    guard left > 0 else { return }
    let hasEnding = left > 2 * Self.ending.count
    key.append(0x2d)
    left -= 1 + (hasEnding ? Self.ending.count : 0)
    var word = 0
    while left > 0 {
      let count = min(16, left)
      Self.addHex(Self.random(index, 8 + word), digits: count, to: &key)
      left -= count
      word += 1
    }
    if hasEnding { key.append(contentsOf: Self.ending) }
  }

  /// Of the object with this key; nil: there is none.
  func index(of key: [UInt8]) -> Int? {
    let index = firstIndex(from: key)
    return index < count && self.key(index) == key ? index : nil
  }

  /// Of the first object whose key is not below `key`.
  func firstIndex(from key: [UInt8]) -> Int {
    var low = 0
    var high = count
    var other: [UInt8] = []
    while low < high {
      let middle = (low + high) / 2
      setKey(middle, in: &other)
      if other.lexicographicallyPrecedes(key) { low = middle + 1 } else { high = middle }
    }
    return low
  }

  /// Of the first object behind all whose keys begin as that of `index` does, for `length` bytes.
  func firstIndex(behind index: Int, sharing length: Int) -> Int {
    if length <= prefix.count { return count }
    if length == folderLength { return (index / files + 1) * files }
    let behind = key(index).prefix(length)
    return firstIndex(from: behind.dropLast() + [behind.last! + 1])
  }

  // MARK: What is known of an object

  /// 1,000 to 2,023 bytes.
  func size(_ index: Int) -> Int { 1000 + Int(Self.random(index, 0) & 1023) }

  /// In one month.
  func modified(_ index: Int) -> Int { Self.firstTime + Int(Self.random(index, 1) % 2_419_200) }

  /// `etag` becomes 32 hexadecimal digits.
  func setETag(_ index: Int, in etag: inout [UInt8]) {
    etag.removeAll(keepingCapacity: true)
    Self.addHex(Self.random(index, 2), digits: 16, to: &etag)
    Self.addHex(Self.random(index, 3), digits: 16, to: &etag)
  }

  func entry(_ index: Int) -> Objects.Entry {
    var etag: [UInt8] = []
    setETag(index, in: &etag)
    return Objects.Entry(
      size: size(index), modified: modified(index),
      etag: "\"\(String(decoding: etag, as: UTF8.self))\"",
      isSynthetic: true)
  }

  // MARK: Digits

  /// SplitMix64 of the object's place and of what the number is for.
  private static func random(_ index: Int, _ use: Int) -> UInt64 {
    var value = (UInt64(index) << 8 | UInt64(use)) &* 0x9e37_79b9_7f4a_7c15
    value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
    value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
    return value ^ (value >> 31)
  }

  private static func add(_ value: Int, digits: Int, to bytes: inout [UInt8]) {
    let end = bytes.count + digits
    bytes.append(contentsOf: repeatElement(0x30, count: digits))
    var value = value
    var place = end - 1
    while value > 0 {
      bytes[place] = 0x30 + UInt8(value % 10)
      value /= 10
      place -= 1
    }
  }

  private static func addHex(_ value: UInt64, digits: Int, to bytes: inout [UInt8]) {
    var value = value
    for _ in 0..<digits {
      let digit = UInt8(truncatingIfNeeded: value >> 60)
      bytes.append(digit + (digit < 10 ? 0x30 : 0x57))
      value <<= 4
    }
  }
}
