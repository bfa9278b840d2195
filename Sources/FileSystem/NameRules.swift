/// Which parts of a key can be a name in a folder, and the inode number of a path.
enum NameRules {
  static let maxNameLength = 255
  private static let slash = UInt8(ascii: "/")

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
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in path { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
    hash ^= hash >> 32
    hash = hash &* 0xd6e8_feb8_6659_fd93
    hash ^= hash >> 32
    hash &= 0x7fff_ffff_ffff_ffff
    return hash > 1 ? hash : hash + 2
  }

  /// Compares as if "/" followed each name: the order in which a store that sorts keys settles names.
  static func precedes(_ left: some Sequence<UInt8>, _ right: some Sequence<UInt8>) -> Bool {
    var left = left.makeIterator()
    var right = right.makeIterator()
    while true {
      switch (left.next(), right.next()) {
      case (nil, nil): return false
      case (nil, let byte?):
        if byte != slash { return slash < byte }
        return right.next() != nil
      case (let byte?, nil):
        return byte < slash
      case (let a?, let b?):
        if a != b { return a < b }
      }
    }
  }
}

/// What a store was seen to have under a path.
struct Seen: Equatable {
  var kind: NodeAttributes.Kind
  /// Nil for a file whose size the listing does not know.
  var size: UInt64?
  var modified: Int64
  var etag: String
  var isArchived = false

  static let folder = Seen(kind: .folder, size: 0, modified: 0, etag: "")

  /// The same version, by the rule of `ObjectVersion`: the time counts only where there is no etag.
  func isSameVersion(as other: Seen) -> Bool {
    if kind != other.kind { return false }
    if kind == .folder { return true }
    return size == other.size && etag == other.etag
      && (!etag.isEmpty || modified == other.modified)
  }
}
