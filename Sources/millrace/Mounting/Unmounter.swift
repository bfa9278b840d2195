import Control
import Glibc
import Posix
import SystemPackage

/// Takes mounts away: umount2 as root, fusermount3 for other users.
enum Unmounter {
  enum Outcome: Equatable {
    case done
    case busy
    case failed(String)
  }

  static func detach(_ path: String, lazily: Bool) -> Outcome {
    if geteuid() == 0 {
      guard let mount = MountInfo.current().topmost(at: path) else {
        return .failed("it is not a mount point")
      }
      return detachAsRoot(mount, lazily: lazily)
    }
    do throws(Failure) {
      var options = Subprocess.Options()
      options.standardError = .null
      let helper = try Subprocess.start(
        ["fusermount3", lazily ? "-uz" : "-u", "--", path], options)
      let code = helper.wait()
      if code == 0 { return .done }
      // Its words differ between versions: the table says whether it is still there.
      guard MountInfo.current().topmost(at: path) != nil else { return .done }
      return lazily ? .failed("fusermount3 ended with \(code)") : .busy
    } catch {
      return .failed("\(error); install the package fuse3")
    }
  }

  /// Through the directory above it, held open from the check to the unmount, and only the mount that was looked up. A
  /// mount point itself cannot be renamed.
  static func detachAsRoot(_ mount: MountInfo.Entry, lazily: Bool) -> Outcome {
    let path = mount.path
    guard let slash = path.lastIndex(of: "/") else { return .failed("it is not a mount point") }
    let parent: HeldDirectory
    do throws(Errno) {
      let above = slash == path.startIndex ? "/" : String(path[..<slash])
      parent = try HeldDirectory(above, followsLink: true)
    } catch {
      return .failed("\(error)")
    }
    defer { withExtendedLifetime(parent) {} }
    let place = "\(parent.path)/\(path[path.index(after: slash)...])"
    guard MountInfo.identifier(ofMountAt: place) == mount.identifier else {
      return .failed(HeldDirectory.replacementAdvice)
    }
    let flags = Int32(UMOUNT_NOFOLLOW) | (lazily ? Int32(MNT_DETACH) : 0)
    if umount2(place, flags) == 0 { return .done }
    return errno == EBUSY ? .busy : .failed(systemMessage())
  }

  /// Unmounts ours at `path`, and waits for its daemon.
  static func unmount(
    _ path: String, force: Bool, timeout: Duration, environment: [String: String]
  ) throws(Failure) {
    guard let place = pathThroughParent(path) else {
      throw Failure("\(path): \(systemMessage())", .mountPoint)
    }
    let table = MountInfo.current()
    let found =
      table.topmost(at: place).map { (place, $0) }
      ?? realPath(path).flatMap { real in table.topmost(at: real).map { (real, $0) } }
    guard let (mountPoint, mount) = found else {
      throw Failure("\(place) is not a mount point\(MountList.hint())", .mountPoint)
    }
    guard mount.isOurs else {
      throw Failure(
        "\(mountPoint) is a mount of type \(mount.type) and not of millrace; use umount",
        .mountPoint)
    }
    let daemon = DaemonRecord.find(mountPoint: mountPoint, user: mount.user, environment)
    let connection = force ? FuseConnection(mount) : nil
    switch detach(mountPoint, lazily: force) {
    case .done: break
    case .busy: throw Failure(busy(mountPoint), .mountPoint)
    case .failed(let reason):
      throw Failure("cannot unmount \(mountPoint): \(reason)", .mountPoint)
    }
    let patience = force ? min(timeout, .seconds(12)) : timeout  // The daemon gives open files ten.
    guard let daemon else { return }
    switch wait(for: daemon, of: mount, within: patience) {
    case .ended: return
    case .held(let holder) where !force: throw Failure(held(mountPoint, daemon, by: holder))
    case .runs where !force: throw Failure(running(mountPoint, daemon))
    case .held, .runs: break
    }
    // A daemon that still answers the kernel ends by itself when its connection does.
    if connection?.abort() == true, hasEnded(daemon, within: .seconds(2)) { return }
    guard let process = DaemonProcess(daemon, mount: mount) else {
      if !daemon.isAlive { return }
      throw Failure(
        "\(mountPoint) is detached, but process \(daemon.pid) of its record could not be verified to be its daemon "
          + "and was not killed; check it (ps -p \(daemon.pid)) and kill it if it is"
      )
    }
    process.kill()
    _ = hasEnded(daemon, within: .seconds(5))
    unlink(RuntimeFolder(path: daemon.folder).file(mountPoint, "mount"))
    unlink(daemon.socket.path)
  }

  private static func busy(_ mountPoint: String) -> String {
    let users = MountUsers.find(below: mountPoint)
    let holders =
      users.isEmpty
      ? "a process has a file open or its working directory there"
      : "used by "
        + users.prefix(3).map { "pid \($0.pid) (\($0.name))" }.joined(separator: ", ")
        + (users.count > 3 ? " and \(users.count - 3) more" : "")
    return
      "\(mountPoint) is busy: \(holders); end it, or detach the mount: millrace unmount --force \(mountPoint)"
  }

  private static func running(_ mountPoint: String, _ daemon: DaemonRecord) -> String {
    "\(mountPoint) is unmounted, but its daemon (pid \(daemon.pid)) is still running; end it: kill \(daemon.pid)"
  }

  /// A container or a service that was started while the mount was there has a copy of it.
  private static func held(
    _ mountPoint: String, _ daemon: DaemonRecord, by holder: MountUsers.User
  ) -> String {
    "\(mountPoint) is unmounted here, but the mount namespace of pid \(holder.pid) (\(holder.name)) still has it; its "
      + "daemon (pid \(daemon.pid)) ends when that process does, or with: "
      + "nsenter --target \(holder.pid) --mount umount \(mountPoint)"
  }

  /// What a daemon does after its mount is gone from here.
  private enum End {
    case ended
    /// A process in another mount namespace has a copy of the mount: there is nothing to wait for.
    case held(by: MountUsers.User)
    case runs
  }

  private static func wait(
    for daemon: DaemonRecord, of mount: MountInfo.Entry, within timeout: Duration
  ) -> End {
    let soon = min(timeout, .seconds(2))
    if hasEnded(daemon, within: soon) { return .ended }
    if let holder = MountUsers.namespaces(withDevice: mount.device).first {
      return .held(by: holder)
    }
    guard soon < timeout else { return .runs }
    Output.complain("waiting for the daemon (pid \(daemon.pid)) to write its cache to disk")
    return hasEnded(daemon, within: timeout - soon) ? .ended : .runs
  }

  private static func hasEnded(_ daemon: DaemonRecord, within timeout: Duration) -> Bool {
    let end = Instant.now + timeout
    while daemon.isAlive {
      if Instant.now >= end { return false }
      usleep(5_000)
    }
    return true
  }
}
