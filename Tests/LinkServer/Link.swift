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

  /// When byte `count` of a body may leave that began at `start`, seconds.
  public func due(_ count: Int, from start: Double) -> Double {
    rate > 0 ? start + Double(count) / rate : start
  }

  /// What is sent in one go, bytes: a hundredth of a second's worth, so that the rate holds in the small.
  public var burst: Int { rate > 0 ? min(256 << 10, max(16 << 10, Int(rate / 100))) : 1 << 20 }
}
