import Glibc
import Logging
import Posix
import SystemPackage

/// What can be checked before anything is mounted.
enum MountChecks {
  /// The mount point's absolute path. A dead mount of our own there is detached.
  static func mountPoint(_ path: String, nonempty: Bool, environment: [String: String])
    throws(Failure)
    -> String
  {
    try detachDead(path, environment)
    guard let status = FileStatus(of: path) else {
      if errno == ENOENT {
        throw Failure(
          "mount point \(path) does not exist; create it: mkdir -p \(path)", .mountPoint)
      }
      throw Failure("mount point \(path): \(systemMessage())", .mountPoint)
    }
    guard status.isFolder else {
      throw Failure("mount point \(path) is not a directory", .mountPoint)
    }
    guard let resolved = realPath(path) else {
      throw Failure("mount point \(path): \(systemMessage())", .mountPoint)
    }
    guard !nonempty else { return resolved }
    if let mount = MountInfo.current().topmost(at: resolved) {
      throw Failure(
        mount.isOurs
          ? "\(resolved) is already a mount of \(mount.source); unmount it first: millrace unmount \(resolved)"
          : "\(resolved) is already a mount point (\(mount.type)); choose another directory, or give --nonempty",
        .mountPoint)
    }
    guard try isEmpty(resolved) else {
      throw Failure(
        "mount point \(resolved) is not empty; choose another directory, or give --nonempty",
        .mountPoint)
    }
    return resolved
  }

  /// A daemon that was killed leaves "Transport endpoint is not connected".
  private static func detachDead(_ path: String, _ environment: [String: String]) throws(Failure) {
    guard let place = pathThroughParent(path), let mount = MountInfo.current().topmost(at: place),
      mount.isOurs,
      DaemonRecord.find(mountPoint: place, user: mount.user, environment) == nil,
      isDisconnected(place)
    else { return }
    if case .failed(let reason) = Unmounter.detach(place, lazily: true) {
      throw Failure("\(place) holds a dead mount that cannot be detached: \(reason)", .mountPoint)
    }
  }

  /// statvfs(3): what stat(2) says of a mount's root may be what the kernel remembers of it.
  private static func isDisconnected(_ place: String) -> Bool {
    var status = statvfs()
    return statvfs(place, &status) != 0 && errno == ENOTCONN
  }

  private static func isEmpty(_ path: String) throws(Failure) -> Bool {
    guard let folder = opendir(path) else {
      throw Failure("mount point \(path): \(systemMessage())", .mountPoint)
    }
    defer { closedir(folder) }
    while let entry = readdir(folder) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if name != "." && name != ".." { return false }
    }
    return true
  }

  static func device() throws(Failure) {
    let file = open("/dev/fuse", O_RDWR | O_CLOEXEC)
    if file >= 0 {
      close(file)
      return
    }
    let code = errno
    throw Failure(
      code == EACCES || code == EPERM
        ? "/dev/fuse is not permitted: in a container it takes --device /dev/fuse --cap-add SYS_ADMIN, "
          + "else give this user access to it"
        : "/dev/fuse is missing (\(systemMessage(code))): load the kernel module (modprobe fuse), or start "
          + "the container with --device /dev/fuse", .mountPoint)
  }

  /// The cache directory exists, is this user's alone, can be written, and its disk has room. Its absolute path.
  static func cacheFolder(_ path: String) throws(Failure) -> String {
    let advice = "choose another with --cache-dir, or --cache-dir none"
    let folder: PrivateFolder
    do throws(PrivateFolder.Problem) { folder = try PrivateFolder.open(path) } catch {
      throw Failure("cache directory \(path) cannot be used: \(error); or \(advice)")
    }
    let probe = ".probe-\(getpid())"
    let file: OwnedDescriptor
    do throws(Errno) { file = try folder.create(probe) } catch {
      throw Failure(
        error == .noSpace || error == .diskQuotaExceeded
          ? "the disk of cache directory \(folder.path) is full; free some space, or \(advice)"
          : "cache directory \(folder.path) is not writable: \(error); \(advice)")
    }
    defer { folder.remove(probe) }
    let block = [UInt8](repeating: 1, count: 64 << 10)
    guard write(file.raw, block, block.count) == block.count else {
      throw Failure(
        "the disk of cache directory \(folder.path) is full; free some space, or \(advice)")
    }
    return folder.path
  }

  /// A secret that other users may read is one no more.
  static func warnOfOpenSecrets(_ files: [(option: String, path: String)], _ log: Logger) {
    for (option, path) in files {
      guard let status = FileStatus(of: path), status.mode & 0o044 != 0 else { continue }
      log.warning(
        "--\(option) \(path) is readable by other users (mode 0\(String(status.mode, radix: 8))); run: chmod go-r \(path)"
      )
    }
  }

  /// Snapshots say which files there are: those that another user could have written are not read.
  static func snapshots(in cache: String) throws(Failure) {
    // Where there is none, none is made for a look.
    guard FileStatus(of: cache) != nil else { return }
    let folder: PrivateFolder
    do throws(PrivateFolder.Problem) { folder = try PrivateFolder.open(cache) } catch {
      throw Failure(
        "cache directory \(cache) cannot be used: \(error); or choose another with --cache-dir")
    }
    if folder.isPrivate("snapshots") { return }
    throw Failure(
      "\(cache)/snapshots belongs to another user or is writable by others; remove it, or choose another --cache-dir"
    )
  }
}
