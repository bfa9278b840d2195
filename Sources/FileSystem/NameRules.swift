import Glibc
import Posix

/// Which parts of a key can be a name in a folder, and the inode number of a path.
enum NameRules {
  static let maxNameLength = 255
  static let slash = UInt8(ascii: "/")

  /// False for a name that no path can reach: empty, ".", "..", over 255 bytes, or with NUL or "/".
  static func isReachable(_ name: some Collection<UInt8>) -> Bool {
    let count = name.count
    guard count > 0, count <= maxNameLength else { return false }
    if count <= 2, name.allSatisfy({ $0 == UInt8(ascii: ".") }) { return false }
    return !name.contains { $0 == 0 || $0 == slash }
  }

  /// st_ino: FNV-1a over the path with a finishing mix, 63 bits (some programs read it as signed);
  /// never 0, and 1 is the root's. Stable over remounts, so it must not be seeded.
  static func inode(of path: some Sequence<UInt8>) -> UInt64 {
    var hash = PathHash()
    for byte in path { hash.add(byte) }
    return hash.inode
  }

  /// Compares as if "/" followed each name: in this order, names become final in a listing sorted by key.
  static func precedes(_ left: [UInt8], _ right: [UInt8]) -> Bool {
    left.withUnsafeBytes { left in right.withUnsafeBytes { order(left, $0) < 0 } }
  }

  /// `precedes` as a comparison: below 0, 0 or above.
  static func order(_ left: UnsafeRawBufferPointer, _ right: UnsafeRawBufferPointer) -> Int {
    let common = min(left.count, right.count)
    let difference = common == 0 ? 0 : memcmp(left.baseAddress!, right.baseAddress!, common)
    if difference != 0 { return Int(difference) }
    if left.count == right.count { return 0 }
    // A name holds no "/", so the byte that stands against the shorter one's "/" is another.
    if left.count < right.count { return slash < right[common] ? -1 : 1 }
    return left[common] < slash ? -1 : 1
  }

  /// Byte by byte.
  static func compare(_ left: UnsafeRawBufferPointer, _ right: UnsafeRawBufferPointer) -> Int {
    let common = min(left.count, right.count)
    let difference = common == 0 ? 0 : memcmp(left.baseAddress!, right.baseAddress!, common)
    return difference != 0 ? Int(difference) : left.count - right.count
  }

  /// Compares a key below a folder, "/" included if it is a folder's, with `name` and a "/".
  static func order(key: UnsafeRawBufferPointer, ofFolder name: UnsafeRawBufferPointer) -> Int {
    let common = min(key.count, name.count)
    let difference = common == 0 ? 0 : memcmp(key.baseAddress!, name.baseAddress!, common)
    if difference != 0 { return Int(difference) }
    guard key.count > name.count else { return -1 }
    if key[common] != slash { return Int(key[common]) - Int(slash) }
    return key.count - name.count - 1
  }
}

/// The running hash of a path, for its inode number: a folder's serves all its names.
struct PathHash {
  private var state: FNV1a

  init() { state = FNV1a() }
  init(_ bytes: some Sequence<UInt8>) { state = FNV1a(bytes) }

  mutating func add(_ byte: UInt8) { state.add(byte) }

  func inode(of name: UnsafeRawBufferPointer) -> UInt64 {
    var hash = self
    for byte in name { hash.add(byte) }
    return hash.inode
  }

  var inode: UInt64 {
    var hash = state.value
    hash ^= hash >> 32
    hash = hash &* 0xd6e8_feb8_6659_fd93
    hash ^= hash >> 32
    hash &= 0x7fff_ffff_ffff_ffff
    return hash > 1 ? hash : hash + 2
  }
}

/// What a store was seen to have under a path.
struct Observation: Equatable {
  var kind: NodeAttributes.Kind
  /// Nil for a file whose size the listing does not know.
  var size: UInt64?
  var modified: Int64
  var etag: String
  var isArchived = false

  /// `etag`: empty unless the store tells who may read the folder.
  static func folder(etag: String = "") -> Observation {
    Observation(kind: .folder, size: 0, modified: 0, etag: etag)
  }

  /// The same version, by the rule of `ObjectVersion`: the time counts only where there is no etag.
  func isSameVersion(as other: Observation) -> Bool {
    if kind != other.kind { return false }
    if kind == .folder { return etag == other.etag }
    return size == other.size && etag == other.etag
      && (!etag.isEmpty || modified == other.modified)
  }
}
