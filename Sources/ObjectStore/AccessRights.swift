/// Owner and permission bits of a file or folder as its source has them, for mounts that other users see.
///
/// They travel at the end of a validator, "@UID:GID:MODE", so that they cost nothing where a store has none and a
/// change of them is a change of what is shown.
public struct AccessRights: Hashable, Sendable {
  public var owner: UInt32
  public var group: UInt32
  /// Permission bits, without those for writing.
  public var mode: UInt32

  public init(owner: UInt32, group: UInt32, mode: UInt32) {
    self.owner = owner
    self.group = group
    self.mode = mode & 0o555
  }

  /// What a validator ends in.
  public var suffix: String { "@\(owner):\(group):\(String(mode, radix: 8))" }

  /// Of a validator that ends in them; nil for others.
  public init?(etag: String) {
    guard let mark = etag.utf8.lastIndex(of: UInt8(ascii: "@")) else { return nil }
    let fields = etag[etag.utf8.index(after: mark)...].split(
      separator: ":", omittingEmptySubsequences: false)
    guard fields.count == 3, let owner = UInt32(fields[0]), let group = UInt32(fields[1]),
      let mode = UInt32(fields[2], radix: 8)
    else { return nil }
    self.init(owner: owner, group: group, mode: mode)
  }

  /// The validator without them.
  public static func stripped(_ etag: String) -> Substring {
    AccessRights(etag: etag) == nil ? etag[...] : etag[..<etag.lastIndex(of: "@")!]
  }
}
