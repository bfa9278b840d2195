import Glibc
import Posix

/// Which disk the cache is on, and whether an unused local one is faster. `Disk` and the decisions are pure; `current`
/// reads /proc/self/mountinfo and /sys.
struct CacheDisk {
  struct Disk: Equatable {
    var mountPoint: String
    /// Of the file system: "ext4", "nfs4".
    var type: String
    /// "259:1"; it names the block device.
    var device = ""
    /// nil: not known, as of file systems without a block device.
    var isRotational: Bool?
    var isReadOnly = false
    var size: UInt64 = 0
    var free: UInt64 = 0
  }

  /// Why a cache should not be here.
  enum Weakness: Equatable {
    case network
    case rotational
    case root

    var title: String {
      switch self {
      case .network: "a network file system"
      case .rotational: "a rotating disk"
      case .root: "the root disk"
      }
    }
  }

  var directory: String
  var disk: Disk
  var weakness: Weakness?
  /// Local, not rotating, and empty, where the cache's own disk has a weakness.
  var faster: Disk?

  /// A disk counts as empty with less than a tenth of it used; smaller ones are no place for a data set.
  private static let emptyShare = 0.9
  private static let sizeMin: UInt64 = 32 << 30

  private static let networkTypes: Set<String> = [
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "lustre", "gpfs", "beegfs", "glusterfs", "9p",
    "afs", "wekafs", "pvfs2", "orangefs", "virtiofs", "panfs",
  ]
  private static let localTypes: Set<String> = [
    "ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "bcachefs",
  ]

  /// `directory`: absolute, without links. `disks`: the mounts there are, that of "/" among them.
  init?(of directory: String, among disks: [Disk]) {
    guard let disk = Self.holding(directory, disks) else { return nil }
    self.directory = directory
    self.disk = disk
    let root = disks.last { $0.mountPoint == "/" }
    weakness = Self.weakness(of: disk, root: root)
    guard weakness != nil else { return }
    faster = disks.filter { other in
      Self.localTypes.contains(other.type) && other.isRotational == false && !other.isReadOnly
        && other.device != disk.device && Self.weakness(of: other, root: root) == nil
        && other.size >= Self.sizeMin
        && Double(other.free) >= Self.emptyShare * Double(other.size)
    }.max { $0.free < $1.free }
  }

  private static func holding(_ directory: String, _ disks: [Disk]) -> Disk? {
    disks.filter {
      $0.mountPoint == "/" || directory == $0.mountPoint
        || directory.hasPrefix($0.mountPoint + "/")
    }.reduce(nil) { best, disk in
      best.map { $0.mountPoint.utf8.count > disk.mountPoint.utf8.count } == true ? best : disk
    }
  }

  static func weakness(of disk: Disk, root: Disk?) -> Weakness? {
    if networkTypes.contains(disk.type) || disk.type.hasPrefix("fuse.") { return .network }
    if disk.isRotational == true { return .rotational }
    if disk.mountPoint == "/" || disk.type == "overlay" { return .root }
    return !disk.device.isEmpty && disk.device == root?.device ? .root : nil
  }

  /// For the log and the terminal of a mount: only what the user can do better.
  var warning: String? {
    if let faster {
      return
        "the cache directory \(directory) is on \(weakness!.title); \(faster.mountPoint) is a local disk "
        + "with \(ByteSize.show(faster.free)) free: --cache-dir \(faster.mountPoint)/millrace"
    }
    return weakness == .network
      ? "the cache directory \(directory) is on a network file system (\(disk.type)); "
        + "choose a local disk with --cache-dir" : nil
  }

  /// "on the root disk (ext4)".
  var place: String {
    weakness.map { "on \($0.title) (\(disk.type))" } ?? "on \(disk.mountPoint) (\(disk.type))"
  }

  // MARK: The machine

  /// nil: /proc does not say.
  static func current(of directory: String) -> CacheDisk? {
    let entries = MountInfo.current().entries
    let disks = entries.map { entry -> Disk in
      var disk = Disk(
        mountPoint: entry.path, type: entry.type, device: "\(entry.device)",
        isRotational: isRotational("\(entry.device)"))
      // A network file system whose server is away would not answer.
      guard localTypes.contains(entry.type) else { return disk }
      var status = statvfs()
      guard statvfs(entry.path, &status) == 0 else { return disk }
      let block = UInt64(status.f_frsize)
      disk.size = UInt64(status.f_blocks).multipliedSaturated(by: block)
      disk.free = UInt64(status.f_bavail).multipliedSaturated(by: block)
      // ST_RDONLY.
      disk.isReadOnly = status.f_flag & 1 != 0 || !takesCaches(entry.path)
      return disk
    }
    return CacheDisk(of: directory, among: disks)
  }

  /// Containers mount single files of the host's disk, as /etc/hosts; and no cache belongs beside a kernel.
  private static func takesCaches(_ path: String) -> Bool {
    let system = ["/boot", "/dev", "/etc", "/proc", "/run", "/sys", "/usr"]
    if system.contains(where: { path == $0 || path.hasPrefix($0 + "/") }) { return false }
    var status = stat()
    return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
      && access(path, W_OK | X_OK) == 0
  }

  /// A partition's queue is that of its disk.
  private static func isRotational(_ device: String) -> Bool? {
    guard !device.isEmpty, !device.hasPrefix("0:") else { return nil }
    let base = "/sys/dev/block/\(device)"
    let text =
      readSmallFile("\(base)/queue/rotational") ?? readSmallFile("\(base)/../queue/rotational")
    return text.map { $0.hasPrefix("1") }
  }
}
