import CFuseShim
import Glibc
import Logging
import Posix

/// One mount in the name space: made once, and removed by the first caller of `detach`.
final class Mountpoint: Sendable {
  let path: String
  /// Tells our mount from another at the same path later; nil if mountinfo does not show it.
  let device: DeviceNumber?
  private let log: Logger
  private let isDetached = Lock(false)

  init(
    _ connection: FuseSession, at path: String, options: MountOptions, log: Logger
  ) throws(MountError) {
    let held = try Mountpoint.hold(options.mountPoint)
    defer { if let held { close(held) } }
    // fusermount3, which mounts for other users, goes into the directory and looks at it itself.
    let place = held.map { "/proc/self/fd/\($0)" } ?? path
    let ((result, logged), printed) = StandardErrorCapture.run {
      LibraryLog.capture { fuse_session_mount(connection.raw, place) }
    }
    let helper = printed.filter(Mountpoint.isOfTheHelper)
    // Not from the helper: a line that other code wrote meanwhile.
    for line in printed where !Mountpoint.isOfTheHelper(line) {
      _ = Array((line + "\n").utf8).withUnsafeBytes {
        write(STDERR_FILENO, $0.baseAddress, $0.count)
      }
    }
    guard result == 0 else {
      // Where the kernel refuses root, libfuse asks fusermount3, which does not see what this process holds.
      let isRefused = held != nil && helper.contains { $0.contains(place) }
      let lines = isRefused ? ["mount: Operation not permitted"] : logged + helper
      throw MountErrorExplanation.mount(lines.map { $0.replacing(place, with: path) }, at: path)
    }
    for line in logged + helper { log.info("mounting: \(line)") }
    self.path = path
    self.log = log
    let entry = MountTable.current().topmost(at: path)
    device = entry?.type.hasPrefix("fuse") == true ? entry?.device : nil
  }

  /// As root: the directory at `path`, held open. Another user may rename directories above it, or replace them by links,
  /// between the checks and the mount; what is held is mounted on and nothing else.
  static func hold(_ path: String) throws(MountError) -> CInt? {
    guard geteuid() == 0 else { return nil }
    let folder = open(path, openPathOnly | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
    guard folder >= 0 else {
      throw MountError("cannot mount on \(path): \(String(cString: strerror(errno)))")
    }
    if descriptorTarget(folder).elementsEqual(path.utf8) { return folder }
    close(folder)
    throw MountError("cannot mount on \(path): a directory above it was replaced; try again")
  }

  /// The second where the helper could not even be started.
  private static func isOfTheHelper(_ line: String) -> Bool {
    line.hasPrefix("fusermount") || line.hasPrefix("fuse:")
  }

  /// Takes the mount out of the name space, busy or not. Only ours: what others have mounted at
  /// the path since is left alone. From any thread, once or more.
  func detach() {
    let isFirst = isDetached.withLock { isDetached in
      defer { isDetached = true }
      return !isDetached
    }
    guard isFirst, let device, MountTable.current().topmost(at: path)?.device == device else {
      return
    }
    if umount2(path, CInt(MNT_DETACH) | CInt(UMOUNT_NOFOLLOW)) == 0 { return }
    let code = errno
    // An ordinary user's mounts are fusermount3's.
    if code == EPERM, Mountpoint.runHelper(path) { return }
    guard MountTable.current().topmost(at: path)?.device == device else { return }
    log.error(
      "cannot unmount \(path): \(String(cString: strerror(code))); try fusermount3 -uz \(path)")
  }

  private static func runHelper(_ path: String) -> Bool {
    let words: [String] = ["fusermount3", "-u", "-z", "-q", "--", path]
    var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
    defer { for argument in arguments { free(argument) } }
    var process = pid_t()
    guard posix_spawnp(&process, "fusermount3", nil, nil, &arguments, environ) == 0 else {
      return false
    }
    var status: CInt = 0
    while waitpid(process, &status, 0) < 0 { if errno != EINTR { return false } }
    return status == 0
  }
}
