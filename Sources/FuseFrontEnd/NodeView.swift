import CFuseShim
import FileSystem
import Glibc

/// Nodes as the kernel wants to see them: owner and modes are the mount's, the same for all.
struct NodeView: Sendable {
  let owner: UInt32
  let group: UInt32
  let fileMode: UInt32
  let folderMode: UInt32

  init(_ options: MountOptions) {
    owner = options.owner
    group = options.group
    // Nothing can be written, whatever the mode says; it shows what was asked for.
    fileMode = options.fileMode & 0o777
    folderMode = options.folderMode & 0o777
  }

  func mode(of kind: NodeAttributes.Kind) -> mode_t {
    switch kind {
    case .file: S_IFREG | fileMode
    case .folder: S_IFDIR | folderMode
    }
  }

  func status(of attributes: NodeAttributes) -> stat {
    var status = stat()
    status.st_ino = ino_t(attributes.inode)
    status.st_mode = mode(of: attributes.kind)
    // 1 for folders too: "number of subfolders not known", so that find looks into every entry.
    status.st_nlink = 1
    status.st_uid = owner
    status.st_gid = group
    status.st_size = off_t(clamping: attributes.size)
    status.st_blocks = blkcnt_t(
      clamping: attributes.size / 512 + (attributes.size % 512 > 0 ? 1 : 0))
    // Programs take it for their buffer size; a larger one makes small random reads of buffered
    // files (Python's) read all of it.
    status.st_blksize = 4096
    let time = timespec(tv_sec: Int(attributes.modified), tv_nsec: 0)
    status.st_atim = time
    status.st_mtim = time
    status.st_ctim = time
    return status
  }

  func entry(_ attributes: NodeAttributes) -> fuse_entry_param {
    var entry = fuse_entry_param()
    entry.ino = attributes.node  // never used twice: generation 0 does
    entry.attr = status(of: attributes)
    entry.attr_timeout = NodeView.timeout(attributes.validFor)
    entry.entry_timeout = entry.attr_timeout
    return entry
  }

  /// "There is no such name", to be remembered.
  static func absence(validFor: Duration) -> fuse_entry_param {
    var entry = fuse_entry_param()
    entry.entry_timeout = timeout(validFor)
    return entry
  }

  /// Seconds; libfuse wants a number that fits its conversion to an unsigned long.
  static func timeout(_ duration: Duration) -> Double {
    let (seconds, attoseconds) = duration.components
    return min(max(Double(seconds) + Double(attoseconds) / 1e18, 0), 1e9)
  }
}
