import ObjectStore

/// Where a mount is in its store: paths of the mount as keys of objects and of directories, and back.
///
/// The key of a directory ends in "/", except that of a store's root, which is empty.
struct MountPaths {
  /// The key of the mount's root.
  let root: ObjectKey

  /// The key of the directory that a path is in, and its name there.
  static func split(_ path: ObjectKey) -> (directory: ObjectKey, name: [UInt8]) {
    let end = path.bytes.lastIndex(of: NameRules.slash).map { $0 + 1 } ?? 0
    return (ObjectKey(bytes: Array(path.bytes[..<end])), Array(path.bytes[end...]))
  }

  /// The directory that a directory is in, and its name there.
  static func split(directory: ObjectKey) -> (directory: ObjectKey, name: [UInt8]) {
    split(ObjectKey(bytes: directory.bytes.dropLast()))
  }

  /// The root's parent is the root: what is above the mount is the kernel's affair.
  func parent(of directory: ObjectKey) -> ObjectKey {
    directory == root ? root : Self.split(directory: directory).directory
  }

  /// st_ino of a directory.
  func inode(of directory: ObjectKey) -> UInt64 {
    directory == root ? 1 : NameRules.inode(of: directory.bytes.dropLast())
  }

  /// A path relative to the mount as the key of a file, and as that of a directory.
  func keys(of path: [UInt8]) -> (file: ObjectKey, directory: ObjectKey) {
    if path.isEmpty { return (root, root) }
    let key = root + path
    return (key, key + [NameRules.slash])
  }

  /// A path relative to the mount, "" for all of it: what the keys below it begin with, and the directory that has it.
  func subtree(at path: [UInt8]) -> (
    below: ObjectKey, parent: (directory: ObjectKey, name: [UInt8])?
  ) {
    let parts = path.split(separator: NameRules.slash)
    guard !parts.isEmpty else { return (root, nil) }
    let key = root + Array(parts.joined(separator: [NameRules.slash]))
    return (key + [NameRules.slash], Self.split(key))
  }

  /// A key as a path relative to the mount.
  func relativePath(of key: ObjectKey) -> [UInt8] {
    Array(key.bytes.dropFirst(root.bytes.count))
  }
}
