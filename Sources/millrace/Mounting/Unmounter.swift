import Control
import Glibc
import Posix

/// Takes mounts away: umount2 as root, fusermount3 for everybody else.
enum Unmounter {
  enum Outcome: Equatable {
    case done
    case busy
    case failed(String)
  }

  static func detach(_ path: String, lazily: Bool) -> Outcome {
    if geteuid() == 0 {
      let flags = Int32(UMOUNT_NOFOLLOW) | (lazily ? Int32(MNT_DETACH) : 0)
      if umount2(path, flags) == 0 { return .done }
      return errno == EBUSY ? .busy : .failed(systemMessage())
    }
    do throws(Failure) {
      let child = try Child(
        ["fusermount3", lazily ? "-uz" : "-u", "--", path], standardError: .null)
      let code = child.wait()
      if code == 0 { return .done }
      // Its words differ between versions: the table says whether it is still there.
      guard MountInfo.current().topmost(at: path) != nil else { return .done }
      return lazily ? .failed("fusermount3 ended with \(code)") : .busy
    } catch {
      return .failed("\(error); install the package fuse3")
    }
  }

  /// Unmounts ours at `path`, and waits for its daemon.
  static func unmount(
    _ path: String, force: Bool, timeout: Duration, environment: [String: String]
  ) throws(Failure) {
    guard let place = pathThroughParent(path) else { throw Failure("\(path): \(systemMessage())") }
    let table = MountInfo.current()
    let found =
      table.topmost(at: place).map { (place, $0) }
      ?? realPath(path).flatMap { real in table.topmost(at: real).map { (real, $0) } }
    guard let (mountPoint, mount) = found else { throw Failure("\(place) is not a mount point") }
    guard mount.isOurs else {
      throw Failure(
        "\(mountPoint) is not a mount of millrace's but of type \(mount.type); use umount")
    }
    let daemon = DaemonRecord.find(mountPoint: mountPoint, user: mount.user, environment)
    let connection = force ? FuseConnection(mount) : nil
    switch detach(mountPoint, lazily: force) {
    case .done: break
    case .busy:
      throw Failure(
        "\(mountPoint) is busy: a program has a file open or its working folder there; end it, or "
          + "detach the mount: millrace unmount --force \(mountPoint)")
    case .failed(let reason): throw Failure("cannot unmount \(mountPoint): \(reason)")
    }
    let patience = force ? min(timeout, .seconds(12)) : timeout  // The daemon gives open files ten.
    guard let daemon, !hasEnded(daemon, within: patience) else { return }
    guard force else {
      throw Failure(
        "\(mountPoint) is unmounted, but its daemon (pid \(daemon.pid)) still runs; end it: kill \(daemon.pid)"
      )
    }
    // A daemon that still answers the kernel ends by itself when its connection does.
    if connection?.abort() == true, hasEnded(daemon, within: .seconds(2)) { return }
    guard let process = DaemonProcess(daemon, mount: mount) else {
      if !daemon.isAlive { return }
      throw Failure(
        "\(mountPoint) is detached, but process \(daemon.pid), which its record names, is not proven to be its "
          + "daemon and was not ended; look at it (ps -p \(daemon.pid)) and end it by hand if it is"
      )
    }
    process.kill()
    _ = hasEnded(daemon, within: .seconds(5))
    unlink(RuntimeFolder(path: daemon.folder).file(mountPoint, "mount"))
    unlink(daemon.socket.path)
  }

  private static func hasEnded(_ daemon: DaemonRecord, within timeout: Duration) -> Bool {
    let deadline = Instant.now + timeout
    while daemon.isAlive {
      if Instant.now >= deadline { return false }
      usleep(5_000)
    }
    return true
  }
}
