import CProcessShim
import Glibc
import Posix

/// What a daemon gives up before it reads credentials, so that less can be read from it or written in its name.
enum Hardening {
  /// Call while there is one thread. `allowsCoreDumps`: leaves debuggers and core files as they are.
  static func apply(allowsCoreDumps: Bool) {
    // Files of the cache, the log and the sockets are for the daemon's user alone.
    umask(0o077)
    // As root no helper has to gain rights; every other user needs the setuid fusermount3.
    if geteuid() == 0 { _ = millrace_forbid_new_privileges() }
    guard !allowsCoreDumps else { return }
    // A core file would hold credentials and the data of all users of the mount.
    var none = rlimit(rlim_cur: 0, rlim_max: 0)
    setrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &none)
    // Neither do other processes of this user attach to it, or read its memory, environment and descriptors.
    _ = millrace_forbid_dumps()
  }
}
