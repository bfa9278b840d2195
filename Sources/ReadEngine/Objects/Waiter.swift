import Metrics
import Posix

/// A read that could not be answered at once.
struct Waiter {
  let id: WaiterID
  let bytes: Range<UInt64>
  let deadline: Instant
  let parkedAt: Instant
  /// It had to wait for the store, and not only for a cold disk.
  var waitedForStore = false
  /// Its place in the queue for memory, once it has needed any.
  var ticket: ReadAdmission.Ticket?
  /// It may hold memory.
  var isAdmitted = false
  /// It waits for records on disk to be read, and not for a fetch.
  var waitsForRecords = false
  /// Of the last fetch that it waited for: when it was sent, when its first byte came, when it was enough.
  var served: Served?
  /// Tries to read it from the disk that failed; a disk that keeps failing is given up.
  var diskFailures = 0

  init(id: WaiterID, bytes: Range<UInt64>, deadline: Instant, parkedAt: Instant) {
    self.id = id
    self.bytes = bytes
    self.deadline = deadline
    self.parkedAt = parkedAt
  }

  mutating func wasServed(_ times: FetchTimes, at now: Instant) {
    waitedForStore = true
    served = Served(
      sentAt: times.sentAt, firstByteAt: times.firstByteAt ?? now, at: now,
      limitedBefore: times.limitedBefore, limitedAfter: times.limitedAfter)
  }

  /// What it waited for up to `now`, bit by bit.
  func wait(until now: Instant) -> [(cause: WaitCause, nanoseconds: Int64)] {
    func span(_ from: Instant, _ to: Instant) -> Int64 {
      max(0, Int64(clamping: (to - from).nanoseconds))
    }
    guard let served else {
      return [(waitedForStore ? .queue : .disk, span(parkedAt, now))]
    }
    let sent = min(max(served.sentAt, parkedAt), served.at)
    let first = min(max(served.firstByteAt, sent), served.at)
    // A fetch is held back before anything else happens to it.
    let allowed = min(max(served.sentAt + served.limitedBefore, sent), first)
    let limitedAfter = min(
      max(0, Int64(clamping: served.limitedAfter.nanoseconds)), span(first, served.at))
    return [
      (.queue, span(parkedAt, sent)), (.limit, span(sent, allowed) + limitedAfter),
      (.firstByte, span(allowed, first)), (.bandwidth, span(first, served.at) - limitedAfter),
      (.disk, span(served.at, now)),
    ]
  }
}

extension Waiter {
  /// When a fetch was sent, when its first byte came, when it was enough; and what our own rate limits held it back
  /// before its first byte and after.
  struct Served {
    var sentAt: Instant
    var firstByteAt: Instant
    var at: Instant
    var limitedBefore: Duration
    var limitedAfter: Duration
  }
}

extension [Waiter] {
  mutating func removeAndReturn(where isTaken: (Waiter) -> Bool) -> [Waiter] {
    let taken = filter(isTaken)
    if !taken.isEmpty { removeAll(where: isTaken) }
    return taken
  }
}

/// When a fetch was sent and when its first byte came, and what our own rate limits held it back.
struct FetchTimes {
  var sentAt = Instant(nanoseconds: 0)
  var firstByteAt: Instant?
  var limitedBefore = Duration.zero
  var limitedAfter = Duration.zero
}
