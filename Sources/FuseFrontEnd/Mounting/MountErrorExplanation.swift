import CFuseShim
import Glibc
import Posix

/// Why a mount cannot be, in one line with what to do. libfuse and fusermount3 know it in words;
/// here the words become the user's.
enum MountErrorExplanation {
  /// The absolute path without links of a folder that can be mounted on.
  static func resolve(_ path: String) throws(MountError) -> String {
    var status = stat()
    guard stat(path, &status) == 0 else {
      switch errno {
      case ENOENT:
        throw MountError("mount point \(path) does not exist; create it: mkdir -p \(path)")
      case ENOTCONN:
        throw MountError(
          "mount point \(path) holds a dead mount; detach it: millrace unmount --force \(path)")
      case let code: throw MountError("mount point \(path): \(String(cString: strerror(code)))")
      }
    }
    guard status.st_mode & S_IFMT == S_IFDIR else {
      throw MountError("mount point \(path) is not a directory")
    }
    guard let resolved = realpath(path, nil) else {
      throw MountError("mount point \(path): \(String(cString: strerror(errno)))")
    }
    defer { free(resolved) }
    return String(cString: resolved)
  }

  static func checkDevice(_ device: String = "/dev/fuse") throws(MountError) {
    let file = Glibc.open(device, O_RDWR | O_CLOEXEC)
    if file >= 0 {
      close(file)
      return
    }
    switch errno {
    case ENOENT, ENODEV, ENXIO:
      throw MountError(
        "\(device) is missing: load the kernel module (modprobe fuse), or start the container with "
          + "--device /dev/fuse")
    case EACCES, EPERM:
      throw MountError(
        "\(device) is not permitted: \(inContainer), or give this user access to \(device)")
    case let code: throw MountError("\(device): \(String(cString: strerror(code)))")
    }
  }

  /// fuse_session_new failed: `lines` are libfuse's.
  static func session(_ lines: [String]) -> MountError {
    MountError(
      "libfuse refused the mount options"
        + (lines.isEmpty ? "" : ": " + lines.joined(separator: "; ")))
  }

  /// fuse_session_mount failed. `lines` are libfuse's and fusermount3's, the last one the most telling.
  static func mount(_ lines: [String], at path: String) -> MountError {
    let text = lines.joined(separator: "; ")
    if text.contains("user_allow_other") {
      return MountError(
        "--allow-other is not permitted: add the line user_allow_other to /etc/fuse.conf (as root)")
    }
    if text.contains("failed to exec fusermount3") || text.contains("posix_spawn") {
      return MountError("fusermount3 is missing: install the package fuse3, or mount as root")
    }
    if text.contains("no write access to mountpoint") {
      return MountError(
        "mount point \(path) is not writable for this user; choose a directory of your own")
    }
    if text.contains("failed to access mountpoint") {
      return MountError(
        "fusermount3 cannot reach mount point \(path): a directory above it is not accessible, or "
          + "another user's mount is there")
    }
    if text.contains("too many FUSE filesystems mounted") {
      return MountError("too many FUSE mounts: raise mount_max in /etc/fuse.conf, or unmount some")
    }
    if text.contains("device not found") {
      return MountError("/dev/fuse is missing: load the kernel module (modprobe fuse)")
    }
    if text.contains("Operation not permitted") || text.contains("Permission denied") {
      return MountError("mounting on \(path) is not permitted: \(inContainer) (\(text))")
    }
    return MountError("cannot mount on \(path): \(text.isEmpty ? "libfuse gave no reason" : text)")
  }

  private static let inContainer =
    "in a container it takes --device /dev/fuse --cap-add SYS_ADMIN"
}
