/// What a program waits for.
public enum WaitCause: String, Sendable, CaseIterable, Codable {
  /// A directory's listing, or a look-up of one name.
  case listing
  /// Queued: other requests are in flight.
  case queue = "queued"
  /// Our own rate limit: `--max-bandwidth`, `--max-requests-per-second`.
  case limit
  /// Time to first byte.
  case firstByte = "ttfb"
  /// The rest of the bytes, after the first byte.
  case bandwidth
  case disk

  var index: Int { Self.allCases.firstIndex(of: self)! }
}

/// How a read that waited came to its end.
public struct ReadWait: Sendable {
  public enum Source: Sendable { case memory, disk, store }
  public var source: Source
  public var bytes: Int
  /// Nanoseconds of each cause.
  public var times: [(cause: WaitCause, nanoseconds: Int64)]

  public init(
    source: Source, bytes: Int, times: [(cause: WaitCause, nanoseconds: Int64)]
  ) {
    self.source = source
    self.bytes = bytes
    self.times = times
  }
}
