public import FileSystem
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

  private let path: String
  private let server: HTTPServer
  private let task = Lock<Task<Void, Never>?>(nil)

  /// What can be asked for beside statistics, each with a path relative to the mount. Called on a thread
  /// of the runtime's; the reply may come from any.
  public struct Actions: Sendable {
    /// Returns the number of folders that were forgotten.
    public var refresh: @Sendable (_ path: [UInt8]) -> Int
    public var update:
      @Sendable (_ path: [UInt8], _ reply: @escaping @Sendable (UpdateReport) -> Void) -> Void

    public init(
      refresh: @escaping @Sendable (_ path: [UInt8]) -> Int,
      update:
        @escaping @Sendable (
          _ path: [UInt8], _ reply: @escaping @Sendable (UpdateReport) -> Void
        ) -> Void
    ) {
      self.refresh = refresh
      self.update = update
    }
  }

  /// `path`: at most 107 bytes, in a folder that only its owner can enter; what is there is
  /// replaced. `report` is called for each request, on a thread of the runtime's.
  public init(
    path: String, report: @escaping @Sendable () -> StatsReport, actions: Actions
  ) {
    self.path = path
    unlink(path)
    let handler = ClosureHTTPHandler { request in
      let target = PathQuery.path(of: request.query.first { $0.name == "path" }?.value ?? "")
      switch (request.method, request.path) {
      case (.GET, "/v1/stats"): return try ControlServer.answer(report())
      case (.POST, "/v1/refresh"):
        return try ControlServer.answer(RefreshReport(folders: actions.refresh(target)))
      case (.POST, "/v1/update"):
        let found = await withCheckedContinuation { done in
          actions.update(target) { done.resume(returning: $0) }
        }
        return try ControlServer.answer(found)
      default: return HTTPResponse(statusCode: .notFound)
      }
    }
    server = HTTPServer(
      address: .unix(path: path), timeout: Self.patience, logger: .disabled, handler: handler)
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

  private static func answer(_ report: some Encodable) throws -> HTTPResponse {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
    return HTTPResponse(
      statusCode: .ok, headers: [.contentType: "application/json"],
      body: try encoder.encode(report))
  }
}

/// What `millrace refresh` is told.
public struct RefreshReport: Sendable, Codable {
  /// Folders whose listing was forgotten.
  public var folders: Int
}

/// A path in a request: hexadecimal, since it is bytes and need be no text.
enum PathQuery {
  static func text(of path: [UInt8]) -> String {
    path.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
  }

  static func path(of text: String) -> [UInt8] {
    let digits = text.utf8.compactMap { Character(UnicodeScalar($0)).hexDigitValue }
    return stride(from: 0, to: digits.count - 1, by: 2).map {
      UInt8(digits[$0] << 4 | digits[$0 + 1])
    }
  }
}
