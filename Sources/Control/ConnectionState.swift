import Posix

/// One connection of a client, without its socket: what it waits for, since when, and whether it stays open
/// after a response. A client may send several requests at once; the next one comes here when the response to the one
/// before is written, which is before the client has taken it.
struct ConnectionState {
  enum Phase: Equatable {
    /// No request, or not all of its head.
    case idle
    /// The body of a request, whose head came then.
    case receiving(since: Instant)
    case answering
    case closed
  }

  private(set) var phase = Phase.idle
  /// Nothing more is read: the response that is made or sent is the last one.
  private(set) var closesAfter = false
  /// Responses that the client has not taken whole.
  private(set) var unsent = 0
  /// When the client last sent or took something.
  private var active: Instant
  private let patience: Duration
  private let bodies: Int

  /// `patience`: how long a client may send nothing, or take nothing of a response; a body that trickles is given it so
  /// many times (`forBodies`).
  init(patience: Duration, forBodies bodies: Int, now: Instant) {
    self.patience = patience
    self.bodies = bodies
    active = now
  }

  /// False: the request is not taken, since the connection ends.
  mutating func headArrived(keepsAlive: Bool, now: Instant) -> Bool {
    guard phase == .idle, !closesAfter else { return false }
    phase = .receiving(since: now)
    active = now
    if !keepsAlive { closesAfter = true }
    return true
  }

  /// The client has sent a part of a body, or taken a part of a response.
  mutating func progressed(now: Instant) { active = now }

  /// True: the request is complete and to be answered.
  mutating func requestEnded() -> Bool {
    guard case .receiving = phase else { return false }
    phase = .answering
    return true
  }

  /// What came is no request. True: it is answered with an error, and then nothing more is read.
  mutating func isMalformed() -> Bool {
    let isFirst = !closesAfter
    closesAfter = true
    switch phase {
    case .idle where isFirst, .receiving:
      phase = .answering
      return true
    case .idle, .answering, .closed: return false
    }
  }

  /// True: the response is to be sent.
  mutating func answered(now: Instant) -> Bool {
    guard phase == .answering else { return false }
    phase = .idle
    unsent += 1
    active = now
    return true
  }

  /// The client has taken a response whole. True: the connection is closed now.
  mutating func sent(now: Instant) -> Bool {
    guard unsent > 0, phase != .closed else { return false }
    unsent -= 1
    active = now
    return closesAfter && unsent == 0 && phase == .idle
  }

  /// The client sends nothing more. True: nor is anything to be sent, the connection is closed now.
  mutating func inputEnded() -> Bool {
    closesAfter = true
    switch phase {
    case .answering: return false
    case .idle: return unsent == 0
    case .receiving:
      phase = .idle
      return unsent == 0
    case .closed: return true
    }
  }

  mutating func closed() { phase = .closed }

  /// True: the client has had its time.
  func isOverdue(now: Instant) -> Bool {
    switch phase {
    case .receiving(let since):
      now >= active + patience
        || now >= since + patience * bodies
    case .idle: now >= active + patience
    // It may wait for a job; but it has to take what is there.
    case .answering: unsent > 0 && now >= active + patience
    case .closed: false
    }
  }
}
