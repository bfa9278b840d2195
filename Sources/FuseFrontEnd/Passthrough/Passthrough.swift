/// Reading past this program: the kernel reads the cache file of an object that is whole on disk.
///
/// An open that is answered with a backing id never sends a read; what it serves is invisible here.
/// Of a file that is whole on disk the cache file stays open after the last release, and its backing
/// id with it, so that the next open costs neither: whether there is passthrough or not.
import CFuseShim
import FileSystem
import Glibc
import Metrics
import Posix
import ReadEngine
import Synchronization

final class Passthrough: Sendable {
  private typealias Modes = BackingFileRegistry<OpenObject>

  /// Files kept open at most, and at most a quarter of the descriptors this process may have (a large
  /// file takes two). More than the number of files in an epoch of small files would be ideal. Each
  /// takes about a kilobyte here and an open file in the kernel.
  static let keptLimit = 4096

  private let device: CInt
  private let modes: Lock<Modes>
  private let trouble: Lock<String?>
  private let kept: Gauge

  /// `reason`: why there is none on this mount; `nil`: there is, as far as INIT can tell.
  init(device: CInt, unavailable reason: String?, kept: Gauge) {
    self.device = device
    self.kept = kept
    trouble = Lock(reason)
    modes = Lock(Modes(limit: Self.affordableLimit()))
  }

  private static func affordableLimit() -> Int {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 64 }
    return Int(min(limit.rlim_cur / 4, rlim_t(keptLimit)))
  }

  /// "on", or "off" and why: for stats and doctor.
  var state: String { trouble.withLock { $0 }.map { "off: \($0)" } ?? "on" }

  /// The mode to answer an open with. It lasts until the claim ends.
  func open(_ file: OpenFile, _ request: fuse_req_t) -> ModeClaim {
    var dropped: Modes.Kept?
    let claim = modes.withLock { modes in
      defer { publish(modes) }
      let lease = modes.open(
        file.node, descriptor: file.object.wholeFile, dropped: &dropped
      ) { register(file, request) }
      return ModeClaim(lease, of: self)
    }
    if let dropped { close(dropped) }
    return claim
  }

  fileprivate func release(_ lease: consuming InodeLease) {
    var lease: InodeLease? = consume lease
    close { modes in
      guard let lease = lease.take() else { return nil }
      return modes.release(lease)
    }
  }

  /// The kernel knows the inode no more.
  func forget(_ node: NodeID) { close { $0.forget(node) } }

  /// Closes what no process has open: the disk needs the space, or the mount ends.
  func closeIdle() {
    let idle = modes.withLock { modes in
      defer { publish(modes) }
      return modes.removeIdle()
    }
    for kept in idle { close(kept) }
  }

  private func close(_ remove: (inout Modes) -> Modes.Kept?) {
    let kept = modes.withLock { modes in
      defer { publish(modes) }
      return remove(&modes)
    }
    if let kept { close(kept) }
  }

  private func publish(_ modes: Modes) { kept.set(Int64(modes.idleCount)) }

  /// The id first: once the file is not held any more, it may be unlinked to free its space, which an
  /// id would keep occupied.
  private func close(_ kept: Modes.Kept) {
    if kept.backingID > 0 { _ = millrace_backing_close(device, kept.backingID) }
    kept.hold.close()
  }

  private func register(_ file: OpenFile, _ request: fuse_req_t) -> Modes.Kept? {
    guard let descriptor = file.object.wholeFile else { return nil }
    return Modes.Kept(
      backingID: backingID(of: descriptor, request), descriptor: descriptor,
      hold: file.object.openAgain())
  }

  private func backingID(of descriptor: CInt, _ request: fuse_req_t) -> Int32 {
    guard trouble.withLock({ $0 == nil }) else { return 0 }
    let id = millrace_backing_open(request, device, descriptor)
    if id > 0 { return id }
    // Said once, and not tried again: the right or the file system below does not change.
    trouble.withLock { trouble in
      trouble =
        id == -EPERM
        ? "needs CAP_SYS_ADMIN, and a cache directory on a plain file system"
        : "the kernel refused the cache file: \(String(cString: strerror(-id)))"
    }
    return 0
  }
}

/// A lease that an open file holds. It ends with its last reference.
final class ModeClaim: Sendable {
  let backingID: Int32
  private let passthrough: Passthrough
  /// Taken once, by `deinit`: no other thread can reach it then.
  nonisolated(unsafe) private var lease: InodeLease?

  fileprivate init(_ lease: consuming InodeLease, of passthrough: Passthrough) {
    backingID = lease.backingID
    self.passthrough = passthrough
    self.lease = consume lease
  }

  deinit {
    if let lease = lease.take() { passthrough.release(lease) }
  }
}
