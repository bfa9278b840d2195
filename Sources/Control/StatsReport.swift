/// The control socket of a mount: HTTP with JSON over a unix socket.

/// What `millrace stats` shows, and what the socket's GET /v1/stats answers.
public struct StatsReport: Sendable, Codable {
  public var source: String
  public init(source: String) { self.source = source }
}
