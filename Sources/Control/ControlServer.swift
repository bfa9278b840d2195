import FlyingFox
import FlyingSocks
import FoundationEssentials
import Glibc
import Posix

/// Serves a mount's control socket from the tasks of the Swift runtime; nothing of the data path
/// waits for it.
public final class ControlServer: Sendable {
  /// Seconds that a request may take: an update lists a tree, and each of its requests ends by itself.
  private static let patience = 3600.0
  /// After trouble that passes, such as too many open files, the socket is made anew.
  private static let rest = Duration.seconds(1)

  private let path: String
  private let gate = ControlGate()
  private let routes: Routes
  private let task = Lock<Task<Void, Never>?>(nil)

  /// `path`: at most 107 bytes, in a folder that only its owner can enter; what is there is
  /// replaced.
  public init(path: String, actions: ControlActions) {
    self.path = path
    routes = Routes(actions: actions)
  }

  /// The socket appears a moment after this returns. `failed` hears, once, why it cannot be; it is tried
  /// again until `stop`.
  public func start(failed: @escaping @Sendable (String) -> Void) {
    task.withLock { task in
      task = Task { [path, routes, gate] in
        var isTold = false
        while !Task.isCancelled {
          unlink(path)
          let server = HTTPServer(
            address: .unix(path: path), timeout: Self.patience, pool: ControlSocketPool(),
            logger: .disabled,
            handler: ClosureHTTPHandler { request in
              guard gate.enter() else {
                return Routes.refuse(
                  .serviceUnavailable, "\(ControlGate.limit) requests are in flight; retry"
                )
              }
              defer { gate.leave() }
              return try await routes.handle(request)
            })
          do { try await server.run() } catch {
            if !Task.isCancelled, !isTold { failed("\(error)") }
            isTold = true
          }
          try? await Task.sleep(for: Self.rest)
        }
      }
    }
  }

  /// Ends what is served within a second, and removes the socket.
  public func stop() {
    let task = task.withLock { task in
      defer { task = nil }
      return task
    }
    task?.cancel()
    unlink(path)
  }
}
