import Glibc
import Posix

/// Where daemons leave their traces: sockets, pids, logs.
struct RuntimeFolder {
  var path: String

  /// This user's own, made if it is missing.
  static func own(_ environment: [String: String]) throws(Failure) -> RuntimeFolder {
    let path = location(user: geteuid(), environment)
    if mkdir(path, 0o700) != 0, errno != EEXIST {
      throw Failure("runtime folder \(path): \(systemMessage())")
    }
    var status = stat()
    guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR,
      status.st_uid == geteuid(), status.st_mode & 0o077 == 0 || chmod(path, 0o700) == 0
    else {
      throw Failure(
        "runtime folder \(path) is not this user's own; remove it, or set XDG_RUNTIME_DIR")
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
      FileStatus(of: base)?.isFolder == true
    {
      return base + "/millrace"
    }
    return "/tmp/millrace-\(user)"
  }

  func file(_ mountPoint: String, _ ending: String) -> String {
    "\(path)/\(RuntimeFolder.id(of: mountPoint)).\(ending)"
  }

  /// With the pid: a daemon that is still ending must not take its successor's socket away.
  func socket(_ mountPoint: String, pid: pid_t) -> String { file(mountPoint, "\(pid).sock") }

  /// FNV-1a, 64 bits: the name has to be short (a socket's path has 107 bytes) and the same tomorrow.
  static func id(of mountPoint: String) -> String {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in mountPoint.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
    let digits = String(hash, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }
}

/// A daemon as its runtime file names it. The start time tells it from a later process of its pid.
struct DaemonRecord: Equatable {
  var pid: Int32
  var startTime: String
  var mountPoint: String
  /// The file's folder.
  var folder: String

  var socket: String { RuntimeFolder(path: folder).socket(mountPoint, pid: pid) }
  var isAlive: Bool { DaemonRecord.startTime(of: pid) == startTime }

  static func find(mountPoint: String, user: UInt32?, _ environment: [String: String])
    -> DaemonRecord?
  {
    for folder in RuntimeFolder.candidates(user: user, environment) {
      // Only root and the owner may have written it: a pid is going to be signalled.
      let file = folder.file(mountPoint, "mount")
      guard let status = FileStatus(of: file), [0, geteuid(), user].contains(status.owner),
        let text = readSmallFile(file)
      else { continue }
      let lines = text.split(separator: "\n", maxSplits: 2, omittingEmptySubsequences: false)
      guard lines.count == 3, let pid = Int32(lines[0]), pid > 1, lines[2] == mountPoint else {
        continue
      }
      let record = DaemonRecord(
        pid: pid, startTime: String(lines[1]), mountPoint: mountPoint, folder: folder.path)
      if record.isAlive { return record }
    }
    return nil
  }

  /// Removes the file, if it is this process's and not its successor's.
  static func removeOwn(mountPoint: String, in folder: RuntimeFolder) {
    let path = folder.file(mountPoint, "mount")
    if readSmallFile(path)?.hasPrefix("\(getpid())\n") == true { unlink(path) }
  }

  /// For this process.
  static func write(mountPoint: String, in folder: RuntimeFolder) throws(Failure) {
    let path = folder.file(mountPoint, "mount")
    let text = "\(getpid())\n\(startTime(of: getpid()) ?? "")\n\(mountPoint)"
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
