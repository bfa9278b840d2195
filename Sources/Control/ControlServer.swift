import FlyingFox
import FlyingSocks
import FoundationEssentials
import Glibc
import Posix

/// Serves a mount's control socket from the tasks of the Swift runtime; nothing of the data path
/// waits for it.
public final class ControlServer: Sendable {
  private let path: String
  private let server: HTTPServer
  private let task = Lock<Task<Void, Never>?>(nil)

  /// `path`: at most 107 bytes, in a folder that only its owner can enter; what is there is
  /// replaced. `report` is called for each request, on a thread of the runtime's.
  public init(path: String, report: @escaping @Sendable () -> StatsReport) {
    self.path = path
    unlink(path)
    let handler = ClosureHTTPHandler { request in
      guard request.method == .GET, request.path == "/v1/stats" else {
        return HTTPResponse(statusCode: .notFound)
      }
      return HTTPResponse(
        statusCode: .ok, headers: [.contentType: "application/json"],
        body: try ControlServer.encode(report()))
    }
    server = HTTPServer(
      address: .unix(path: path), timeout: 15, logger: .disabled, handler: handler)
  }

  /// The socket appears a moment after this returns. `failed` hears why it cannot be.
  public func start(failed: @escaping @Sendable (String) -> Void) {
    task.withLock { task in
      task = Task { [server] in
        do { try await server.run() } catch {
          if !Task.isCancelled { failed("\(error)") }
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

  private static func encode(_ report: StatsReport) throws -> Data {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
    return try encoder.encode(report)
  }
}
