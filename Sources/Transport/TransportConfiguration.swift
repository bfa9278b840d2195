/// Limits and times of the transport.
public struct TransportConfiguration: Sendable {
  public var connectTimeout: Duration = .seconds(10)
  /// No byte of the head for this long: the attempt is given up and tried on another connection.
  public var firstByteTimeout: Duration = .seconds(20)
  /// Less than 1 KiB/s for this long: stalled.
  public var stallTimeout: Duration = .seconds(10)
  /// Attempts in a row that brought no byte. With 10 a store that is gone for 20 s would be given up
  /// in one of three cases, before any deadline: 16 span 85 s in the mean.
  public var maxAttempts: Int = 16
  /// While no request succeeds at all, the deadline alone ends the attempts.
  public var waitsWhileAway = false
  /// A store that is away for so long is named in the log, and again each time after so long.
  public var namesOutageAfter: Duration = .seconds(60)
  /// Silences are given up sooner than `firstByteTimeout` and `stallTimeout` where answers are mostly
  /// quick (`TTFBTracker`).
  public var adaptsTimeouts = true
  /// Requests sent a second at most; nil: as many as there are.
  public var maxRequestsPerSecond: Double? = nil
  /// Bytes received a second at most.
  public var maxBytesPerSecond: Int? = nil
  /// Transfers running at once; fewer while the store throttles (`ConcurrencyLimit`); more wait in the transport's queue.
  public var maxConcurrentTransfers: Int = 128
  /// Exchanges started and not ended; one more fails.
  public var maxLiveExchanges: Int = 16_384
  /// Memory for bodies that are collected whole.
  public var bodyBudget = BodyBudget(limit: 128 << 20)
  /// Connections kept; at least as many as may run at once.
  public var maxIdleConnections: Int = 64
  /// PEM file that replaces the system's certificate authorities.
  public var caBundle: String? = nil
  /// PEM files of what is shown to a server that asks; the key may lie in the certificate's.
  public var clientCertificate: String? = nil
  public var clientKey: String? = nil
  public var userAgent: String = "millrace"
  /// A line for each attempt that ended, without secrets; nil: none is wanted.
  public var requestLog: (@Sendable (String) -> Void)?
  /// Asks a slow request a second time, within a budget of 2 %.
  public var hedges = true
  /// The addresses of a host's name, over which its connections are spread; nil leaves that to
  /// libcurl, which uses the first of them. Called on a thread of its own.
  public var lookUp: (@Sendable (_ name: String) -> [String])? = addresses(ofName:)
  /// Without a live exchange for this long, all connections are closed; servers mostly did so before.
  var closeIdleAfter: Duration = .seconds(30)
  public init() {}

  /// What exchanges may take that are started without limits of their own.
  public var exchangeLimits: ExchangeLimits {
    ExchangeLimits(
      maxAttempts: maxAttempts, connectTimeout: connectTimeout,
      firstByteTimeout: firstByteTimeout, stallTimeout: stallTimeout)
  }
}

/// How often and how long one exchange tries, within its deadline.
public struct ExchangeLimits: Sendable {
  /// Attempts in a row that brought no byte.
  public var maxAttempts: Int
  public var connectTimeout: Duration
  /// No byte of the head for this long: the attempt is given up.
  public var firstByteTimeout: Duration
  /// Less than 1 KiB/s for this long: the attempt is given up.
  public var stallTimeout: Duration

  public init(
    maxAttempts: Int, connectTimeout: Duration, firstByteTimeout: Duration, stallTimeout: Duration
  ) {
    self.maxAttempts = maxAttempts
    self.connectTimeout = connectTimeout
    self.firstByteTimeout = firstByteTimeout
    self.stallTimeout = stallTimeout
  }
}
