import CFuseShim
import Glibc
import Logging
import Posix
import SystemPackage

/// One mount in the name space: made once, and removed by the first caller of `detach`.
final class Mountpoint: Sendable {
  let path: String
  /// Tells our mount from another at the same path later; nil if mountinfo does not show it.
  let device: DeviceNumber?
  private let log: Logger
  private let isDetached = Lock(false)

  init(
    _ session: FuseSession, at path: String, options: MountOptions, log: Logger
  ) throws(MountError) {
    let held = try Mountpoint.hold(options.mountPoint)
    defer { withExtendedLifetime(held) {} }
    // fusermount3, which mounts for other users, goes into the directory and checks it itself.
    let place = held?.path ?? path
    let ((result, logged), printed) = StandardErrorCapture.run {
      LibraryLog.capture { fuse_session_mount(session.raw, place) }
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
    let entry = MountInfo.current().topmost(at: path)
    device = entry?.type.hasPrefix("fuse") == true ? entry?.device : nil
  }

  /// As root: the directory at `path`, held open from the check to the mount, so that it is mounted on and nothing
  /// else. Nil for other users.
  static func hold(_ path: String) throws(MountError) -> HeldDirectory? {
    guard geteuid() == 0 else { return nil }
    let directory: HeldDirectory
    do throws(Errno) { directory = try HeldDirectory(path) } catch {
      throw MountError("cannot mount on \(path): \(error)")
    }
    if directory.isAt(path) { return directory }
    throw MountError("cannot mount on \(path): \(HeldDirectory.replacementAdvice)")
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
    guard isFirst, let device, MountInfo.current().topmost(at: path)?.device == device else {
      return
    }
    if umount2(path, CInt(MNT_DETACH) | CInt(UMOUNT_NOFOLLOW)) == 0 { return }
    let code = errno
    // An ordinary user's mounts are fusermount3's.
    if code == EPERM, Mountpoint.runHelper(path) { return }
    guard MountInfo.current().topmost(at: path)?.device == device else { return }
    log.error(
      "cannot unmount \(path): \(String(cString: strerror(code))); try fusermount3 -uz \(path)")
  }

  /// Signals stay blocked in it as they are here: a second Ctrl-C must not end it half-way.
  private static func runHelper(_ path: String) -> Bool {
    var options = Subprocess.Options()
    options.inheritsSignals = true
    let helper = try? Subprocess(["fusermount3", "-u", "-z", "-q", "--", path], options)
    return helper?.wait() == 0
  }
}
