import CProcessShim
import Glibc
import Posix

/// The process that a record names, held by a descriptor, so that a signal reaches it or nothing.
///
/// A record's pid is only what its writer says: a stranger's record may name any process of the machine, and root
/// acts on records of other users. So the process is compared with the record and the mount first.
final class DaemonProcess {
  /// What /proc says of a process; nil where it may not be read.
  struct Facts: Equatable {
    /// Effective uid.
    var user: UInt32
    var startTime: String
    /// It runs this program.
    var isMillrace: Bool?
    /// It serves the mount's connection.
    var servesMount: Bool?

    /// `mountUser`: who made the mount, by the kernel's table.
    func isDaemon(of record: DaemonRecord, mountUser: UInt32?, caller: UInt32) -> Bool {
      guard startTime == record.startTime, user == record.owner, user == mountUser ?? record.owner
      else { return false }
      // The caller's own record, in a folder that only the caller can write.
      if record.owner == caller { return isMillrace != false || servesMount == true }
      return isMillrace == true || servesMount == true
    }
  }

  private let descriptor: CInt

  /// nil: no such process, or not proven to be the record's daemon.
  init?(_ record: DaemonRecord, mount: MountInfo.Entry) {
    // First: from here on the pid cannot become another process's without being noticed.
    descriptor = millrace_process_descriptor(record.pid)
    guard descriptor >= 0 else { return nil }
    guard let facts = Self.facts(of: record.pid, connection: mount.device.minor),
      facts.isDaemon(of: record, mountUser: mount.user, caller: geteuid())
    else { return nil }
  }

  deinit { if descriptor >= 0 { close(descriptor) } }

  func kill() { _ = millrace_signal_process(descriptor, SIGKILL) }

  static func facts(of pid: Int32, connection: UInt32?) -> Facts? {
    guard let startTime = DaemonRecord.startTime(of: pid),
      let line = readSmallFile("/proc/\(pid)/status")?.split(separator: "\n").first(where: {
        $0.hasPrefix("Uid:")
      })
    else { return nil }
    // Real, effective, saved, of the file system.
    let users = line.dropFirst(4).split(whereSeparator: \.isWhitespace).compactMap { UInt32($0) }
    guard users.count == 4 else { return nil }
    return Facts(
      user: users[1], startTime: startTime, isMillrace: runsThisProgram(pid),
      servesMount: serves(pid, connection))
  }

  private static func runsThisProgram(_ pid: Int32) -> Bool? {
    var own = stat()
    var other = stat()
    guard stat("/proc/self/exe", &own) == 0, stat("/proc/\(pid)/exe", &other) == 0 else {
      return nil
    }
    return own.st_dev == other.st_dev && own.st_ino == other.st_ino
  }

  /// It has /dev/fuse open, with this connection where the kernel tells it (Linux 6.8).
  private static func serves(_ pid: Int32, _ connection: UInt32?) -> Bool? {
    guard let names = directoryNames("/proc/\(pid)/fd") else { return nil }
    for name in names {
      var target = [CChar](repeating: 0, count: 64)
      let length = readlink("/proc/\(pid)/fd/\(name)", &target, target.count)
      guard length > 0, target[..<length].elementsEqual("/dev/fuse".utf8.map(CChar.init)) else {
        continue
      }
      let line = readSmallFile("/proc/\(pid)/fdinfo/\(name)")?.split(separator: "\n").first {
        $0.hasPrefix("fuse_connection:")
      }
      guard let line, let connection else { return true }
      if UInt32(line.filter(\.isNumber)) == connection { return true }
    }
    return false
  }
}
