import ObjectStore
import ReadEngine
import SystemPackage

/// The extended attributes of an inode: `user.millrace.etag`, `.version`, `.key` and `.state` of files, none of
/// directories.
struct ExtendedAttributes {
  private static let etag = "user.millrace.etag"
  private static let version = "user.millrace.version"
  private static let key = "user.millrace.key"
  private static let state = "user.millrace.state"

  /// Nil for the root, and for an inode that the kernel does not refer to.
  let node: Node?
  let isRoot: Bool

  private var tag: VersionTag { VersionTag(node?.seen.etag ?? "") }

  /// Whether names like this one are known here. There are no ACLs and no labels: `ls -l` asks for three of them a
  /// file, and for none any more once it has heard so of a file system.
  static func isSupported(_ name: UnsafeRawBufferPointer) -> Bool {
    name.starts(with: "user.".utf8)
  }

  /// `residence`: where the content of a version is, as `.state` tells it.
  func value(
    of name: UnsafeRawBufferPointer, residence: (ObjectVersion) -> Residence
  ) -> Result<[UInt8], Errno> {
    guard Self.isSupported(name) else { return .failure(.notSupported) }
    guard isRoot || node != nil else { return .failure(.staleNFSFileHandle) }
    guard let node, node.seen.kind == .file else { return .failure(.noData) }
    switch String(decoding: name, as: UTF8.self) {
    case Self.etag where !node.seen.etag.isEmpty: return .success(Array(tag.etag.utf8))
    case Self.version:
      guard let version = tag.version else { return .failure(.noData) }
      return .success(Array(version.utf8))
    case Self.key: return .success(node.path.bytes)
    case Self.state:
      return .success(Array(residence(node.seen.version(of: node.path)).rawValue.utf8))
    default: return .failure(.noData)
    }
  }

  var names: Result<[String], Errno> {
    guard isRoot || node != nil else { return .failure(.staleNFSFileHandle) }
    guard let node, node.seen.kind == .file else { return .success([]) }
    let etag = node.seen.etag.isEmpty ? [] : [Self.etag]
    let version = tag.version == nil ? [] : [Self.version]
    return .success(etag + version + [Self.key, Self.state])
  }
}
