import Glibc
public import SystemPackage

/// A named POSIX thread. Most live as long as the mount. Each ends when its owner stops it, and the owner joins
/// it. One that is not joined by the end of this object is detached: its stack is given back when it ends.
public final class Thread: @unchecked Sendable {
  private let handle: pthread_t
  private let joined = Lock(false)

  /// How a thread is started: `Thread.start`, or in tests something that fails.
  public typealias Starter =
    @Sendable (_ name: String, _ body: @escaping @Sendable () -> Void) throws(Errno) -> Thread

  /// Starts `body` on a thread of its own; `name` (at most 15 bytes) shows in top -H and perf. Throws EAGAIN
  /// where the machine, the cgroup or the user may have no more.
  @Sendable public static func start(
    named name: String, _ body: @escaping @Sendable () -> Void
  ) throws(Errno) -> Thread {
    Thread(try create(name, body))
  }

  private init(_ handle: pthread_t) { self.handle = handle }

  private static func create(
    _ name: String, _ body: @escaping @Sendable () -> Void
  ) throws(Errno) -> pthread_t {
    let box = Unmanaged.passRetained(Box(name: name, body: body))
    var handle = pthread_t()
    let result = pthread_create(&handle, nil, threadMain, box.toOpaque())
    if result == 0 { return handle }
    box.release()
    throw Errno(rawValue: result)
  }

  /// For tests and tools alone: ends the process where there is no thread. What serves a mount uses `start`
  /// (`make lint` looks).
  public init(named name: String, _ body: @escaping @Sendable () -> Void) {
    do throws(Errno) { handle = try Self.create(name, body) } catch {
      preconditionFailure("cannot start thread \(name): \(error)")
    }
  }

  /// Waits for the body to end. Call it once, never from the thread itself.
  public func join() {
    let first = joined.withLock { joined in
      defer { joined = true }
      return !joined
    }
    if first { pthread_join(handle, nil) }
  }

  /// No thread will join it. For work that may take as long as a name server takes, and that holds
  /// nothing that must not outlive its owner.
  public func detach() {
    let first = joined.withLock { joined in
      defer { joined = true }
      return !joined
    }
    if first { pthread_detach(handle) }
  }

  deinit { detach() }

  fileprivate final class Box: Sendable {
    let name: String
    let body: @Sendable () -> Void
    init(name: String, body: @escaping @Sendable () -> Void) {
      self.name = name
      self.body = body
    }
  }
}

private func threadMain(_ argument: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
  let box = Unmanaged<Thread.Box>.fromOpaque(argument!).takeRetainedValue()
  nameThisThread(box.name)
  box.body()
  return nil
}

/// pthread_setname_np is hidden behind _GNU_SOURCE and prctl is variadic: neither reaches Swift.
private func nameThisThread(_ name: String) {
  let file = open("/proc/thread-self/comm", O_WRONLY | O_CLOEXEC)
  guard file >= 0 else { return }
  defer { close(file) }
  _ = name.utf8.withContiguousStorageIfAvailable { write(file, $0.baseAddress, min($0.count, 15)) }
}
