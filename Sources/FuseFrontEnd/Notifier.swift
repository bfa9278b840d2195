import CFuseShim
import FileSystem
import Posix

/// What the kernel must drop, waiting to be told: bounded, and nothing twice.
struct InvalidationQueue {
  enum Target: Hashable {
    case node(NodeID)
    case entry(parent: NodeID, name: [UInt8])

    init(_ invalidation: Invalidation) {
      switch invalidation {
      case .node(let node): self = .node(node)
      case .entry(let parent, let name): self = .entry(parent: parent, name: name)
      }
    }
  }

  private let limit: Int
  private var order: [Target] = []
  private var waiting: Set<Target> = []

  init(limit: Int) { self.limit = limit }

  var isEmpty: Bool { order.isEmpty }

  /// False: the queue is full. The kernel then keeps what it has until its time is over.
  mutating func add(_ target: Target) -> Bool {
    guard waiting.count < limit || waiting.contains(target) else { return false }
    if waiting.insert(target).inserted { order.append(target) }
    return true
  }

  /// Everything, in order.
  mutating func take() -> [Target] {
    defer {
      order = []
      waiting = []
    }
    return order
  }
}

/// A thread that tells the kernel what to drop. It holds no lock while it does: the kernel may wait
/// for a request of ours to be answered first.
final class Notifier: Sendable {
  private struct State {
    var queue = InvalidationQueue(limit: 65_536)
    var isTelling = false
    var isStopping = false
    var hasEnded = false
  }

  private let state: Monitor<State>
  private let thread: Thread

  init(_ connection: Session) {
    let state = Monitor(State())
    self.state = state
    thread = Thread(named: "fuse-notify") {
      while true {
        let batch: [InvalidationQueue.Target]? = state.wait { state in
          if state.isStopping { return [] }
          guard !state.queue.isEmpty else { return nil }
          state.isTelling = true
          return state.queue.take()
        }
        guard let batch, !batch.isEmpty else { break }
        for target in batch where connection.isOpen { connection.invalidate(target) }
        state.signal(all: true) { $0.isTelling = false }
      }
      state.signal(all: true) { $0.hasEnded = true }
    }
  }

  /// False: too much is waiting.
  func add(_ invalidation: Invalidation) -> Bool {
    state.signal { $0.isStopping || $0.queue.add(InvalidationQueue.Target(invalidation)) }
  }

  /// True: the kernel has been told of all that was added.
  func waitUntilIdle(within time: Duration) -> Bool {
    let idle: Bool? = state.wait(until: Instant.now + time) {
      $0.queue.isEmpty && !$0.isTelling ? true : nil
    }
    return idle ?? false
  }

  /// Ends the thread. One that the kernel keeps waiting for longer is left to end by itself, when
  /// the connection is cut.
  func stop(within time: Duration) {
    state.signal(all: true) { $0.isStopping = true }
    let ended: Void? = state.wait(until: Instant.now + time) { $0.hasEnded ? () : nil }
    if ended != nil { thread.join() }
  }
}

extension Session {
  /// Failures mean that the kernel knows nothing of it, or is gone.
  fileprivate func invalidate(_ target: InvalidationQueue.Target) {
    switch target {
    case .node(let node):
      folderCopies.withLock { $0.forget(node) }
      passthrough?.forget(node)
      _ = fuse_lowlevel_notify_inval_inode(raw, node, 0, 0)
    case .entry(let parent, let name):
      name.withUnsafeBytes {
        _ = fuse_lowlevel_notify_inval_entry(
          raw, parent, $0.baseAddress?.assumingMemoryBound(to: CChar.self), $0.count)
      }
    }
  }
}
