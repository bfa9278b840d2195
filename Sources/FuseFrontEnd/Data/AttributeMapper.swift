import CFuseShim
import FileSystem
import Glibc
import ObjectStore

/// Nodes as the kernel wants to see them: owner and modes are the mount's, the same for all, or each its source's.
struct AttributeMapper: Sendable {
  let owner: UInt32
  let group: UInt32
  let fileMode: UInt32
  let folderMode: UInt32
  private let sourceAccess: SourceAccess?

  init(_ options: MountOptions) {
    owner = options.owner
    group = options.group
    // Nothing can be written, whatever the mode says; it shows what was asked for.
    fileMode = options.fileMode & 0o777
    folderMode = options.folderMode & 0o777
    sourceAccess = options.sourceAccess
  }

  func mode(of kind: NodeAttributes.Kind) -> mode_t {
    switch kind {
    case .file: S_IFREG | fileMode
    case .folder: S_IFDIR | folderMode
    }
  }

  /// What may not be known to be open to others is open to the owner alone.
  private func mode(of attributes: NodeAttributes) -> mode_t {
    switch attributes.kind {
    case .file where sourceAccess?.fileMode == true: S_IFREG | (attributes.rights?.mode ?? 0o400)
    case .folder where sourceAccess?.folderMode == true:
      S_IFDIR | (attributes.rights?.mode ?? 0o500)
    default: mode(of: attributes.kind)
    }
  }

  func status(of attributes: NodeAttributes) -> stat {
    var status = stat()
    status.st_ino = ino_t(attributes.inode)
    status.st_mode = mode(of: attributes)
    // 1 for folders too: "number of subfolders not known", so that find looks into every entry.
    status.st_nlink = 1
    let rights = attributes.rights
    status.st_uid = sourceAccess?.owner == true ? rights?.owner ?? owner : owner
    status.st_gid = sourceAccess?.group == true ? rights?.group ?? group : group
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
    entry.attr_timeout = AttributeMapper.timeout(attributes.validFor)
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
