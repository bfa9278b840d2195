import Control
import Formats
import Glibc
import Posix

/// Where daemons leave their traces: sockets, pids, logs.
struct RuntimeFolder {
  var path: String

  /// This user's own, made if it is missing.
  static func own(_ environment: [String: String]) throws(Failure) -> RuntimeFolder {
    let path = location(user: geteuid(), environment)
    let advice = "remove it, or set XDG_RUNTIME_DIR to a directory of your own"
    let folder: PrivateFolder
    do throws(PrivateFolder.Problem) { folder = try PrivateFolder.open(path) } catch {
      throw Failure("runtime directory \(path) cannot be used: \(error); \(advice)")
    }
    guard let status = folder.status(of: "."), status.st_mode & 0o077 != 0 else {
      return RuntimeFolder(path: path)
    }
    guard fchmod(folder.raw, 0o700) == 0 else {
      throw Failure("runtime directory \(path): \(systemMessage()); \(advice)")
    }
    // It was open to others: what they put there goes.
    for name in folder.names(in: ".") {
      guard let found = folder.status(of: name) else { continue }
      let isOwn = found.st_uid == geteuid() && found.st_nlink == 1
      if !isOwn || found.st_mode & S_IFMT == S_IFLNK { folder.remove(name) }
    }
    return RuntimeFolder(path: path)
  }

  /// Where the daemon of `user` can have left its files: root looks after others' mounts.
  static func candidates(user: UInt32?, _ environment: [String: String]) -> [RuntimeFolder] {
    var paths = [location(user: geteuid(), environment)]
    for user in [user, geteuid()].compactMap({ $0 }) {
      paths += user == 0 ? ["/run/millrace"] : ["/run/user/\(user)/millrace"]
      paths.append("/tmp/millrace-\(user)")
    }
    return paths.map(RuntimeFolder.init)
  }

  private static func location(user: UInt32, _ environment: [String: String]) -> String {
    if user == 0, access("/run", W_OK) == 0 { return "/run/millrace" }
    if user != 0, let base = environment["XDG_RUNTIME_DIR"], base.hasPrefix("/"),
      isOwn(base, user)
    {
      return base + "/millrace"
    }
    if user != 0, isOwn("/run/user/\(user)", user) { return "/run/user/\(user)/millrace" }
    return "/tmp/millrace-\(user)"
  }

  private static func isOwn(_ path: String, _ user: UInt32) -> Bool {
    FileStatus(of: path).map { $0.isFolder && $0.owner == user } ?? false
  }

  func name(_ mountPoint: String, _ ending: String) -> String {
    "\(RuntimeFolder.id(of: mountPoint)).\(ending)"
  }

  func file(_ mountPoint: String, _ ending: String) -> String {
    "\(path)/\(name(mountPoint, ending))"
  }

  /// With the pid: a daemon that is still ending must not take its successor's socket away.
  func socket(_ mountPoint: String, pid: pid_t) -> String { file(mountPoint, "\(pid).sock") }

  /// The name has to be short (a socket's path has 107 bytes) and the same tomorrow.
  static func id(of mountPoint: String) -> String {
    Hex.encode(FNV1a(mountPoint.utf8).value)
  }
}

/// A daemon as its runtime file names it. The start time tells it from a later process of its pid.
struct DaemonRecord: Equatable {
  var pid: Int32
  var startTime: String
  var mountPoint: String
  /// The file's folder.
  var folder: String
  /// The file's owner, who vouches for what it says.
  var owner: UInt32
  /// nil: it logs to standard error.
  var log: String?

  /// Only the record's owner or root may answer there.
  var socket: ControlSocket {
    ControlSocket(path: RuntimeFolder(path: folder).socket(mountPoint, pid: pid), owner: owner)
  }
  var isAlive: Bool { DaemonRecord.startTime(of: pid) == startTime }

  /// A directory of another user on a FUSE mount is not looked into: its daemon could keep root waiting.
  static func find(
    mountPoint: String, user: UInt32?, _ environment: [String: String],
    _ table: MountInfo = .current()
  ) -> DaemonRecord? {
    let folders = RuntimeFolder.candidates(user: user, environment)
    let isOthers = user != nil && user != geteuid()
    return find(
      mountPoint: mountPoint, user: user,
      in: isOthers
        ? folders.filter { table.mount(holding: $0.path)?.type.hasPrefix("fuse") != true }
        : folders)
  }

  static func find(mountPoint: String, user: UInt32?, in folders: [RuntimeFolder]) -> DaemonRecord?
  {
    for folder in folders {
      guard let (text, owner) = read(folder.name(mountPoint, "mount"), in: folder),
        [0, geteuid(), user].contains(owner)
      else {
        continue
      }
      let lines = text.split(separator: "\n", maxSplits: 3, omittingEmptySubsequences: false)
      guard lines.count == 4, let pid = Int32(lines[0]), pid > 1, lines[3] == mountPoint else {
        continue
      }
      let record = DaemonRecord(
        pid: pid, startTime: String(lines[1]), mountPoint: mountPoint, folder: folder.path,
        owner: owner, log: lines[2].isEmpty ? nil : String(lines[2]))
      if record.isAlive { return record }
    }
    return nil
  }

  /// Bytes of a record: each of two paths has 4096 at most.
  private static let sizeLimit = 9 << 10

  /// The text and the owner of a record: a regular file of its owner's alone, and no link to one.
  private static func read(
    _ name: String, in folder: RuntimeFolder
  ) -> (text: String, owner: UInt32)? {
    // Not through a link, which could lead to such a mount.
    let place = open(folder.path, openPathOnly | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
    guard place >= 0 else { return nil }
    defer { close(place) }
    // Nor does a pipe of that name hold up the command.
    let file = openat(place, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
    guard file >= 0 else { return nil }
    defer { close(file) }
    var status = stat()
    guard fstat(file, &status) == 0, status.st_mode & S_IFMT == S_IFREG,
      status.st_mode & 0o022 == 0, status.st_nlink == 1, status.st_size <= sizeLimit
    else { return nil }
    var bytes = [UInt8](repeating: 0, count: sizeLimit)
    let count = Glibc.read(file, &bytes, bytes.count)
    return count < 0 ? nil : (String(decoding: bytes[..<count], as: UTF8.self), status.st_uid)
  }

  /// Removes the file, if it is this process's and not its successor's.
  static func removeOwn(mountPoint: String, in folder: RuntimeFolder) {
    let path = folder.file(mountPoint, "mount")
    if readSmallFile(path)?.hasPrefix("\(getpid())\n") == true { unlink(path) }
  }

  /// For this process. `log`: its log file.
  static func write(mountPoint: String, log: String?, in folder: RuntimeFolder) throws(Failure) {
    let path = folder.file(mountPoint, "mount")
    // The mount point is last, because it may contain newlines. A log file's name that contains one is left out.
    let shown = log.flatMap { $0.contains("\n") ? nil : $0 } ?? ""
    let text = "\(getpid())\n\(startTime(of: getpid()) ?? "")\n\(shown)\n\(mountPoint)"
    unlink(path)
    let file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
    guard file >= 0 else { throw Failure("\(path): \(systemMessage())") }
    defer { close(file) }
    guard Glibc.write(file, text, text.utf8.count) == text.utf8.count else {
      throw Failure("\(path): \(systemMessage())")
    }
  }

  /// Field 22 of /proc/PID/stat, in ticks since boot; nil for a process that ended (a zombie too).
  static func startTime(of pid: Int32) -> String? {
    guard let text = readSmallFile("/proc/\(pid)/stat"), let end = text.lastIndex(of: ")") else {
      return nil
    }
    let fields = text[text.index(after: end)...].split(separator: " ")
    guard fields.count > 19, fields[0] != "Z", fields[0] != "X" else { return nil }
    return String(fields[19])
  }
}
