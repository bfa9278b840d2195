import Glibc
import NIOHTTP1
import Posix
public import SystemPackage

/// Serves a mount's control socket: `HTTPServer` with `Routes`. Nothing of the data path waits for it.
public final class ControlServer: Sendable {
  private let server: HTTPServer
  private let gate = ControlGate()
  private let path = Lock<String?>(nil)

  /// Takes the threads that it needs, before anything is mounted. Throws EAGAIN where the machine has none to give.
  public init() throws(Errno) {
    server = try HTTPServer(limits: HTTPLimits(bodyBytes: Routes.bodyLimit))
  }

  /// The socket appears a moment after this returns. `failed` is called once, with the reason why it cannot be; it
  /// is tried again until `stop`. `path`: at most 107 bytes, in a directory that only its owner can enter; what is
  /// there is replaced.
  public func start(
    path: String, actions: ControlActions, failed: @escaping @Sendable (String) -> Void
  ) {
    self.path.withLock { $0 = path }
    let routes = Routes(actions: actions)
    server.start(.unix(path: path), failed: failed) { [gate] request in
      guard gate.enter() else {
        return Routes.refuse(
          .serviceUnavailable, "\(ControlGate.limit) requests are in flight; retry")
      }
      defer { gate.leave() }
      return await routes.handle(request)
    }
  }

  /// Ends what is served, and removes the socket.
  public func stop() {
    server.stop()
    if let path = path.withLock({ $0 }) { unlink(path) }
  }
}
