import Posix

/// Tells a silent or stalled transfer from a slow one. libcurl's own low-speed limit also counts
/// the wait for the first byte, which here has a limit of its own.
struct ProgressWatch: Sendable {
  /// Below this rate for the whole of `stallTimeout` a transfer is stalled.
  static let leastBytesPerSecond = 1024.0

  enum Finding: Equatable, Sendable {
    case fine
    case firstByteTimedOut
    case stalled
  }

  /// A moment of a transfer, as the event loop sees it.
  struct Sample: Sendable {
    /// Bytes of head and body so far.
    var received: Int
    /// Bytes of the request's body so far: who still sends cannot have an answer.
    var sent: Int
    /// Nil while the connection is being made: connecting has its own limit.
    var requestStarted: Instant?

    static let nothing = Sample(received: 0, sent: 0, requestStarted: nil)
  }

  let firstByteTimeout: Duration
  let stallTimeout: Duration
  private var lastCheck: Instant
  private var lastReceived = 0
  private var lastSent = 0
  private var lastSentAt: Instant
  private var lastGood: Instant?

  init(firstByteTimeout: Duration, stallTimeout: Duration, now: Instant) {
    self.firstByteTimeout = firstByteTimeout
    self.stallTimeout = stallTimeout
    lastCheck = now
    lastSentAt = now
  }

  /// How often to look: the findings come late by at most this.
  var interval: Duration {
    max(.milliseconds(5), min(firstByteTimeout, stallTimeout) / 4)
  }

  mutating func check(_ sample: Sample, now: Instant) -> Finding {
    defer {
      lastCheck = now
      lastReceived = sample.received
    }
    return sample.received == 0
      ? checkSilence(sample, now: now) : checkRate(sample, now: now)
  }

  private mutating func checkSilence(_ sample: Sample, now: Instant) -> Finding {
    if sample.sent > lastSent {
      lastSent = sample.sent
      lastSentAt = now
    }
    guard let started = sample.requestStarted else { return .fine }
    let silentSince = max(started, lastSentAt)
    return now >= silentSince + firstByteTimeout ? .firstByteTimedOut : .fine
  }

  private mutating func checkRate(_ sample: Sample, now: Instant) -> Finding {
    // A process that was stopped for a while must not demand the bytes of that time.
    let elapsed = min(now - lastCheck, interval * 2).seconds
    let isGood = Double(sample.received - lastReceived) >= elapsed * Self.leastBytesPerSecond
    guard let good = lastGood, !isGood else {
      lastGood = now
      return .fine
    }
    return now >= good + stallTimeout ? .stalled : .fine
  }
}
