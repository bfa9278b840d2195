import Control
import Glibc
import Posix

/// A path on a mount of this program, and its daemon.
struct LiveMount {
  var mountPoint: String
  /// Below the mount point, without "/" at either end; empty for all of it.
  var relative: [UInt8]
  var daemon: DaemonRecord

  /// `path`: the mount point, or something below it, be it there or not.
  init(holding path: String) throws(Failure) {
    guard let place = pathThroughParent(path) ?? LiveMount.absolute(path) else {
      throw Failure("\(path): \(systemMessage())", .mountPoint)
    }
    let table = MountInfo.current()
    var candidate = place
    while true {
      if let mount = table.topmost(at: candidate) {
        guard mount.isOurs else { break }
        guard
          let daemon = DaemonRecord.find(
            mountPoint: candidate, user: mount.user, processEnvironment())
        else {
          throw Failure(
            "no daemon of \(candidate) was found: the mount is another user's (run this as that user), or the "
              + "daemon has ended (mount it again, or millrace unmount \(candidate))", .mountPoint)
        }
        // The socket comes a moment after the mount.
        for _ in 0..<200 where access(daemon.socket.path, F_OK) != 0 && daemon.isAlive {
          usleep(10_000)
        }
        self.daemon = daemon
        mountPoint = candidate
        relative = Array(
          place.utf8.dropFirst(candidate.utf8.count).drop { $0 == UInt8(ascii: "/") })
        return
      }
      guard let slash = candidate.lastIndex(of: "/"), slash != candidate.startIndex else { break }
      candidate = String(candidate[..<slash])
    }
    throw Failure("\(place) is not on a mount of millrace\(MountList.hint())", .mountPoint)
  }

  /// A path whose parent is not there any more either.
  private static func absolute(_ path: String) -> String? {
    var parts = path.split(separator: "/").filter { $0 != "." }
    if !path.hasPrefix("/") {
      guard let here = realPath(".") else { return nil }
      parts = here.split(separator: "/") + parts
    }
    return parts.contains("..") ? nil : "/" + parts.joined(separator: "/")
  }
}
