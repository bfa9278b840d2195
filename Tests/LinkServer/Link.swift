/// What lies between a store and its client: how long an answer takes to begin, and how fast a
/// connection carries it from then on.
public struct Link: Sendable, Equatable {
  /// Median of the wait for the first byte, seconds; log-normal with `sigma`.
  public var firstByte: Double
  public var sigma: Double
  /// Of one connection, bytes a second; 0: as fast as it goes.
  public var rate: Double
  /// Share of the answers that take `slowWait` seconds instead.
  public var slowShare = 0.0
  public var slowWait = 0.0

  public init(firstByte: Double, sigma: Double = 0.3, rate: Double) {
    self.firstByte = firstByte
    self.sigma = sigma
    self.rate = rate
  }

  /// This machine's own.
  public static let loopback = Link(firstByte: 0, rate: 0)
  /// S3 in the same region: 20 ms, 90 MB/s a connection.
  public static let s3 = Link(firstByte: 0.020, rate: 90e6)
  /// A store in another region: 120 ms, 25 MB/s a connection.
  public static let far = Link(firstByte: 0.120, rate: 25e6)

  public static func named(_ name: String) -> Link? {
    ["loopback": loopback, "s3": s3, "far": far][name]
  }

  /// The wait of one answer, seconds.
  public func wait(using random: inout some RandomNumberGenerator) -> Double {
    if slowShare > 0, Double.random(in: 0..<1, using: &random) < slowShare { return slowWait }
    guard firstByte > 0 else { return 0 }
    return firstByte * exponential(sigma * normal(using: &random))
  }

  /// What is sent in one go, bytes: a thousandth of a second's worth or so, so that the rate holds in the
  /// small.
  public var burst: Int { rate > 0 ? min(64 << 10, max(16 << 10, Int(rate / 1000))) : 1 << 20 }
}

/// When the bytes of a body may leave. Time in which the client does not take them is lost, as on a line:
/// it is no credit for later.
struct Pace {
  private let rate: Double
  private var next: Double
  /// Of lateness that is the scheduler's and made good, seconds.
  static let slack = 0.010

  /// `start`: when the head left, seconds.
  init(_ link: Link, from start: Double) {
    rate = link.rate
    next = start
  }

  /// `count` bytes have been handed over by `now`; returns when the next may be.
  mutating func sent(_ count: Int, now: Double) -> Double {
    next = max(next + Double(count) / rate, now - Self.slack)
    return next
  }
}
