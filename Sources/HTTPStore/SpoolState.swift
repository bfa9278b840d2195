import ObjectStore
import Posix

/// Which downloads a spool has, who waits for which of their ranges, and what its thread does next.
///
/// A value under the spool's monitor, one method an event: it decides, and neither reads a clock nor a file.
struct SpoolState {
  struct Waiter {
    var request: FetchRequest
    var sink: any FetchSink
    var ticket: SpoolTicket
  }

  struct Entry {
    var file: SpoolFile
    var received: UInt64 = 0
    /// What was received counts once the download has ended well.
    var isVerified = false
    var failure: StoreError?
    var ticket: (any FetchTicket)?
    var hasEnded = false
    var waiters: [Waiter] = []
    var usedAt: Instant

    /// Bytes from the start that may be given.
    var readable: UInt64 { isVerified && (!hasEnded || failure != nil) ? 0 : received }
  }

  /// What the spool's thread does next.
  enum Turn {
    case begin(Waiter)
    case give(Waiter, SpoolFile)
    case fail(Waiter, StoreError)
    case stop([Waiter])
  }

  /// Files held at once; who wants one more waits, until its deadline.
  private static let mostFiles = 8
  private static let idle: Duration = .seconds(30)

  /// The store's, in errors.
  let name: String
  private(set) var entries: [ObjectVersion: Entry] = [:]
  /// For whose file there is no room yet.
  private(set) var pending: [Waiter] = []
  /// The disk had no room for the last one that was tried: none is tried until a file has gone.
  private var isShort = false
  private var isStopping = false

  init(name: String) { self.name = name }

  private var allWaiters: [Waiter] { entries.values.flatMap(\.waiters) + pending }

  /// A range is wanted. False: the spool is stopping.
  mutating func add(_ waiter: Waiter, at now: Instant) -> Bool {
    if isStopping { return false }
    let version = waiter.request.version
    if entries[version] != nil {
      entries[version]!.waiters.append(waiter)
      entries[version]!.usedAt = now
    } else {
      pending.append(waiter)
    }
    return true
  }

  /// Its file is open. False: another one is being downloaded already, and `waiter` waits for that.
  mutating func begin(_ waiter: Waiter, in file: SpoolFile, at now: Instant) -> Bool {
    let version = waiter.request.version
    if entries[version] != nil {
      entries[version]!.waiters.append(waiter)
      return false
    }
    entries[version] = Entry(file: file, waiters: [waiter], usedAt: now)
    return true
  }

  /// Its transfer was started. True: the spool is stopping, and the transfer is to be cancelled.
  mutating func started(_ transfer: any FetchTicket, of version: ObjectVersion) -> Bool {
    if entries[version]?.hasEnded == false { entries[version]!.ticket = transfer }
    return isStopping
  }

  /// What is received from now on counts once all of it has.
  mutating func beginVerified(_ version: ObjectVersion) {
    entries[version]?.isVerified = true
    entries[version]?.received = 0
  }

  /// Where the next bytes of a download go; nil: nowhere, as a write failed before or it is gone.
  func place(of version: ObjectVersion) -> (file: SpoolFile, position: UInt64)? {
    guard let entry = entries[version], entry.failure == nil else { return nil }
    return (entry.file, entry.received)
  }

  mutating func wrote(_ count: Int, of version: ObjectVersion) {
    entries[version]?.received += UInt64(count)
  }

  /// The download cannot go on. Returns its transfer, to be cancelled.
  mutating func fail(_ version: ObjectVersion, _ error: StoreError) -> (any FetchTicket)? {
    entries[version]?.failure = error
    return entries[version]?.ticket
  }

  mutating func ended(
    _ version: ObjectVersion, _ result: Result<Void, StoreError>, at now: Instant
  ) {
    entries[version]?.ticket = nil
    entries[version]?.hasEnded = true
    isShort = false
    entries[version]?.usedAt = now
    if case .failure(let error) = result, entries[version]?.failure == nil {
      entries[version]?.failure = error
    }
  }

  /// The disk has no room for it: it is tried again when a download has ended. False: there are none.
  mutating func postpone(_ waiter: Waiter) -> Bool {
    if entries.isEmpty { return false }
    pending.append(waiter)
    isShort = true
    return true
  }

  /// The file that was not read for the longest time; its space is free when the last reference to it goes.
  mutating func removeIdle() -> SpoolFile? {
    let idle = entries.filter { $0.value.waiters.isEmpty && $0.value.hasEnded }
    guard let oldest = idle.min(by: { $0.value.usedAt < $1.value.usedAt }) else { return nil }
    return remove(oldest.key)
  }

  private mutating func remove(_ version: ObjectVersion) -> SpoolFile? {
    isShort = false
    return entries.removeValue(forKey: version)?.file
  }

  private mutating func hasRoom() -> Bool {
    if entries.count < Self.mostFiles { return true }
    return removeIdle() != nil
  }

  /// Begins the stop: the thread's next turn is the last. Returns the transfers to cancel.
  mutating func stop() -> [any FetchTicket] {
    isStopping = true
    return entries.values.compactMap(\.ticket)
  }

  /// When the thread looks again if nothing is signalled.
  func nextDeadline(at now: Instant) -> Instant {
    let waiters = allWaiters
    let first = waiters.map(\.request.deadline).min()
    // The thread is not notified of cancellations: it polls for them while there are waiters.
    return min(
      first ?? now + Self.idle, now + (waiters.isEmpty ? Self.idle : .milliseconds(500)))
  }

  /// nil: nothing to do yet.
  mutating func nextTurn(at now: Instant) -> Turn? {
    if isStopping { return .stop(allWaiters) }
    if let turn = nextPending(now) { return turn }
    for (version, entry) in entries {
      for (index, waiter) in entry.waiters.enumerated() {
        guard let turn = turn(of: waiter, entry, now) else { continue }
        entries[version]!.waiters.remove(at: index)
        entries[version]!.usedAt = now
        isShort = false
        return turn
      }
      // A failed download is started again by the next request; one that no request needs is removed.
      let isOver = entry.hasEnded && (entry.failure != nil || now > entry.usedAt + Self.idle)
      if entry.waiters.isEmpty, isOver { _ = remove(version) }
    }
    return nil
  }

  /// nil: it waits on.
  private func turn(of waiter: Waiter, _ entry: Entry, _ now: Instant) -> Turn? {
    func error(_ kind: StoreError.Kind, _ detail: String) -> StoreError {
      StoreError(kind, store: name, key: waiter.request.version.key, detail: detail)
    }
    if waiter.ticket.isCancelled {
      return .fail(waiter, error(.cancelled, "the request was cancelled"))
    }
    if entry.readable >= waiter.request.range.upperBound { return .give(waiter, entry.file) }
    if var failure = entry.failure {
      if failure.store.isEmpty { failure.store = name }
      return .fail(waiter, failure)
    }
    if now >= waiter.request.deadline {
      return .fail(
        waiter,
        error(
          .timedOut,
          "the server does not support range requests, and this part was not received before the deadline"
        ))
    }
    return nil
  }

  private mutating func nextPending(_ now: Instant) -> Turn? {
    for (index, waiter) in pending.enumerated() {
      let version = waiter.request.version
      if waiter.ticket.isCancelled || now >= waiter.request.deadline {
        pending.remove(at: index)
        let kind: StoreError.Kind = waiter.ticket.isCancelled ? .cancelled : .timedOut
        let detail =
          "the server does not support range requests, and \(entries.count) others are being downloaded"
        return .fail(waiter, StoreError(kind, store: name, key: version.key, detail: detail))
      }
      if entries[version] != nil || (!isShort && hasRoom()) {
        pending.remove(at: index)
        return .begin(waiter)
      }
    }
    return nil
  }
}

/// A range that waits in the spool.
final class SpoolTicket: FetchTicket {
  private let cancelled = Lock(false)
  var isCancelled: Bool { cancelled.withLock { $0 } }
  func cancel() { cancelled.withLock { $0 = true } }
}
