/// Reading past this program: the kernel reads the cache file of an object that is whole on disk.
///
/// An open that is answered with a backing id never sends a read; what it serves is invisible here.
import CFuseShim
import FileSystem
import Glibc
import Posix
import ReadEngine
import Synchronization

final class Passthrough: Sendable {
  private let device: CInt
  private let modes = Lock(InodeModes())
  private let trouble: Lock<String?>

  /// `reason`: why there is none on this mount; `nil`: there is, as far as INIT can tell.
  init(device: CInt, unavailable reason: String?) {
    self.device = device
    trouble = Lock(reason)
  }

  /// "on", or "off" and why: for stats and doctor.
  var state: String { trouble.withLock { $0 }.map { "off: \($0)" } ?? "on" }

  /// The backing id to answer an open with, 0 for none. Every call is followed by one of `release`.
  func open(_ file: OpenFile) -> Int32 {
    modes.withLock { modes in
      modes.open(file.node) { register(file) }
    }
  }

  func release(_ node: NodeID) {
    let id = modes.withLock { $0.release(node) }
    if id > 0 { _ = millrace_backing_close(device, id) }
  }

  private func register(_ file: OpenFile) -> Int32 {
    guard trouble.withLock({ $0 == nil }), let descriptor = file.object.wholeFile else { return 0 }
    let id = millrace_backing_open(device, descriptor)
    if id > 0 { return id }
    // Said once, and not tried again: the right or the file system below does not change.
    trouble.withLock { trouble in
      trouble =
        id == -EPERM
        ? "needs CAP_SYS_ADMIN, and a cache folder on a plain file system"
        : "the kernel refused the cache file: \(String(cString: strerror(-id)))"
    }
    return 0
  }
}
