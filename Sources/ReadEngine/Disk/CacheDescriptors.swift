import Glibc
import Posix
import Synchronization
import SystemPackage

/// Descriptors of cache files, of all engines in the process: at most 80 % of what the process may have, and under
/// a low limit half of it. The rest is for sockets, epoll and the control socket. So opening many files exhausts the
/// cached opens (further ones are read from the store), and never the connections.
enum CacheDescriptors {
  private static let used = Atomic(0)

  /// The soft limit may be changed from outside (prlimit), so it is asked for each time: 0.1 µs.
  static var limit: Int {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return .max }
    return share(of: UInt64(limit.rlim_cur))
  }

  /// For sockets (128 transfers and 64 idle connections at most) and what the daemon has open itself.
  private static let reserve: UInt64 = 256

  static func share(of limit: UInt64) -> Int {
    let spared = limit > reserve ? limit - reserve : 0
    return Int(clamping: max(limit / 2, min(limit / 5 * 4, spared)))
  }

  /// Takes what `open` opens on the account of the cache; its owner closes it with `close`. Throws EMFILE once
  /// the share is used up.
  static func take(_ open: () throws(Errno) -> OwnedDescriptor) throws(Errno) -> CInt {
    guard used.add(1, ordering: .relaxed).newValue <= limit else {
      used.subtract(1, ordering: .relaxed)
      throw .tooManyOpenFiles
    }
    do throws(Errno) { return try open().release() } catch {
      used.subtract(1, ordering: .relaxed)
      throw error
    }
  }

  static func close(_ descriptor: CInt) {
    Glibc.close(descriptor)
    used.subtract(1, ordering: .relaxed)
  }
}
