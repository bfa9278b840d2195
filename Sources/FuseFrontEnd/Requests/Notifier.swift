import CFuseShim
import FileSystem
import Glibc
import Posix

/// Has the kernel drop names and nodes, on the thread of the file system that wants it. It holds no lock while it
/// does: the kernel may wait for a request of ours to be answered first.
final class Notifier: Sendable {
  private struct State {
    var active = 0
    var isStopping = false
  }

  private let state = Monitor(State())
  private let session: FuseSession

  init(_ session: FuseSession) { self.session = session }

  /// Returns once it is done. False: this kernel cannot.
  func deliver(_ invalidation: Invalidation) -> Bool {
    let isMeant = state.withLock { state in
      if state.isStopping || !session.isOpen { return false }
      state.active += 1
      return true
    }
    // A mount that ends has no names to drop.
    guard isMeant else { return true }
    defer { state.signal(all: true) { $0.active -= 1 } }
    return session.invalidate(invalidation)
  }

  /// Nothing is begun from now on. What the kernel keeps waiting for longer ends when the connection is cut.
  func stop(within time: Duration) {
    state.signal(all: true) { $0.isStopping = true }
    _ = state.wait(until: Instant.now + time) { $0.active == 0 ? true : nil }
  }
}

extension FuseSession {
  /// Failures of the first two mean that the kernel knows nothing of it, or is gone.
  fileprivate func invalidate(_ target: Invalidation) -> Bool {
    switch target {
    case .node(let node):
      data.invalidated(node)
      _ = fuse_lowlevel_notify_inval_inode(raw, node, 0, 0)
      return true
    case .entry(let parent, let name):
      name.withUnsafeBytes {
        _ = fuse_lowlevel_notify_inval_entry(
          raw, parent, $0.baseAddress?.assumingMemoryBound(to: CChar.self), $0.count)
      }
      return true
    case .everything: return raiseEpoch()
    }
  }

  /// FUSE_NOTIFY_INC_EPOCH, of Linux 6.16 and later: every name is looked up again. libfuse before 3.18 has no
  /// call for it, so the notification is written as the kernel reads it: fuse_out_header and no more.
  private func raiseEpoch() -> Bool {
    var header = (length: UInt32(16), code: Int32(8), unique: UInt64(0))
    return write(device, &header, 16) == 16
  }
}
