/// HTTP over libcurl: one thread, one multi handle, connections reused, retries bounded in number
/// and in time. Stores hand it exchanges; it knows no store.
public import Logging
public import Metrics
public import ObjectStore
public import Posix

public final class Transport: Sendable {
  public init(configuration: TransportConfiguration, metrics: StoreMetrics, log: Logger) {
    fatalError("not built yet")
  }

  /// Starts an exchange; it ends by `deadline`.
  @discardableResult
  public func start(_ exchange: any Exchange, deadline: Instant) -> any FetchTicket {
    fatalError("not built yet")
  }

  /// Completes every exchange with `.cancelled` and joins the thread.
  public func shutdown() {}
}

/// Limits and times of the transport.
public struct TransportConfiguration: Sendable {
  public var connectTimeout: Duration = .seconds(10)
  /// No byte of the head for this long: the attempt is given up and tried on another connection.
  public var firstByteTimeout: Duration = .seconds(20)
  /// Less than 1 KiB/s for this long: stalled.
  public var stallTimeout: Duration = .seconds(10)
  public var maxAttempts: Int = 10
  /// Transfers running at once; more wait in the transport's queue.
  public var maxConcurrentTransfers: Int = 128
  public var maxIdleConnections: Int = 64
  /// PEM file that replaces the system's certificate authorities.
  public var caBundle: String? = nil
  public var userAgent: String = "millrace"
  public init() {}
}
