import Glibc
import Posix

/// A FUSE mount's connection in the kernel, as fuse's control file system shows it. Opened while the mount is in the
/// table: its number may be another mount's later, the open file stays this one's.
final class FuseConnection {
  private let file: CInt

  /// nil: the control file system is not mounted, or the mount is another user's.
  init?(_ mount: MountInfo.Entry) {
    file = open("/sys/fs/fuse/connections/\(mount.device.minor)/abort", O_WRONLY | O_CLOEXEC)
    guard file >= 0 else { return nil }
  }

  deinit { if file >= 0 { close(file) } }

  /// Ends every request in flight with an error, and the daemon's loop with it. Needs no pid.
  func abort() -> Bool { write(file, "1", 1) == 1 }
}
