/// What is known of one version while it is in use: pieces in memory and on disk, fetches on their
/// way, readers that wait. A value, changed under the object's lock; it decides and never acts.
import Metrics
import ObjectStore
import Posix
import SystemPackage

struct ObjectState {
  /// Where the bytes of a range are.
  enum Standing {
    case disk
    case memory
    /// Some here, some there.
    case mixed
    /// All there, but some pieces on disk have to be checked first.
    case unverified
    case missing
  }

  /// A failure, remembered for as long as the kernel's own second try takes to come.
  struct Failure {
    var bytes: Range<UInt64>
    var errno: Errno
    var until: Instant
  }

  let version: ObjectVersion
  let pieceCount: Int
  let isSmall: Bool
  var opens = 0
  /// Those of them by readers.
  var readers = 0
  var isPrepared = false
  /// The disk tier has this version down as open.
  var isCounted = false
  /// The copy on disk, once there is one.
  var file: CacheFile?
  /// Whether what arrives goes to disk.
  var writes = DiskWrites.taken
  /// Files that are out of use but may still be read by a thread that took the descriptor before.
  var retiredFiles: [CacheFile] = []
  var presence: PresenceMap
  var memory: [Int: MemoryPiece] = [:]
  var fetches: [ObjectFetch] = []
  var waiters: [Waiter] = []
  /// Reads that may hold memory, in the order in which they were admitted.
  var admitted: [AdmittedRead] = []
  /// False only where a test plants a bug.
  var protectsReads = true
  var streams = StreamTracker()
  var dirty: [Int] = []
  var isQueuedForWriting = false
  var failure: Failure?
  /// The store has another version by now: what is not here yet can never be had.
  var isStale = false
  /// A reply showed another content; not only that the object is missing.
  var isStaleByChange = false

  init(_ version: ObjectVersion) {
    self.version = version
    pieceCount = Geometry.pieceCount(ofSize: version.size)
    isSmall = version.size <= Geometry.smallObjectLimit
    presence = PresenceMap(pieceCount: pieceCount)
  }

  var isIdle: Bool {
    opens == 0 && fetches.isEmpty && waiters.isEmpty && admitted.isEmpty && memory.isEmpty
      && !isQueuedForWriting
  }

  /// It is not open and has no work in progress, though memory may hold some of it.
  var isAtRest: Bool {
    opens == 0 && fetches.isEmpty && waiters.isEmpty && admitted.isEmpty && dirty.isEmpty
      && !isQueuedForWriting
  }

  // MARK: Where bytes are

  /// Every piece is in memory or on its way there, or every piece is on disk: nothing to plan.
  var lacksNothing: Bool { memory.count == pieceCount || presence.presentCount == pieceCount }

  mutating func standing(of bytes: Range<UInt64>) -> Standing {
    var onDisk = false
    var inMemory = false
    var needsCheck = false
    for piece in Geometry.pieces(covering: bytes) {
      let start = Geometry.start(ofPiece: piece)
      if let held = memory[piece], start + UInt64(held.filled) >= min(bytes.upperBound, end(piece))
      {
        inMemory = true
      } else if presence.isPresent(piece) {
        onDisk = true
        if !presence.isTrusted(piece) { needsCheck = true }
      } else {
        return .missing
      }
    }
    if needsCheck { return .unverified }
    if onDisk { return inMemory ? .mixed : .disk }
    return .memory
  }

  /// Pieces on disk of a range that have not been checked since the machine crashed.
  mutating func unverified(in bytes: Range<UInt64>) -> [Int] {
    Geometry.pieces(covering: bytes).filter { presence.isPresent($0) && !presence.isTrusted($0) }
  }

  /// Where each byte of a range is, in order; blocks are retained for the caller.
  mutating func parts(of bytes: Range<UInt64>, pool: BlockPool) -> [Part] {
    var parts: [Part] = []
    for piece in Geometry.pieces(covering: bytes) {
      let start = Geometry.start(ofPiece: piece)
      let from = max(start, bytes.lowerBound)
      let to = min(end(piece), bytes.upperBound)
      if let held = memory[piece], start + UInt64(held.filled) >= to {
        pool.retain(held.block)
        memory[piece]!.noteRead(toItsEnd: to == end(piece))
        parts.append(.memory(held.block, offset: Int(from - start), count: Int(to - from)))
      } else if case .disk(let offset, let count) = parts.last, offset + UInt64(count) == from {
        parts[parts.count - 1] = .disk(offset: offset, count: count + Int(to - from))
      } else {
        parts.append(.disk(offset: from, count: Int(to - from)))
      }
    }
    return parts
  }

  func end(_ piece: Int) -> UInt64 { min(Geometry.start(ofPiece: piece + 1), version.size) }

  // MARK: Waiters

  /// Parks a reader and sees to it that the fetches it needs wake it.
  mutating func park(_ waiter: Waiter) {
    waiters.append(waiter)
    for fetch in fetches { fetch.wake(for: waiter) }
  }

  /// Takes out the waiters that wait for nothing any more. Determines anew when `fetch` wakes the others.
  mutating func takeReadyWaiters(after fetch: ObjectFetch) -> [Waiter] {
    var ready: [Waiter] = []
    var others: [Waiter] = []
    fetch.forgetWakes()
    for waiter in waiters {
      if case .missing = standing(of: waiter.bytes) {
        fetch.wake(for: waiter)
        others.append(waiter)
      } else {
        var waiter = waiter
        waiter.served(by: fetch, at: .now)
        ready.append(waiter)
      }
    }
    waiters = others
    return ready
  }

  mutating func takeWaiters(before now: Instant) -> [Waiter] {
    takeWaiters { $0.deadline <= now }
  }

  mutating func takeWaiters(overlapping bytes: Range<UInt64>) -> [Waiter] {
    takeWaiters { $0.bytes.overlaps(bytes) }
  }

  mutating func takeWaiters(where isTaken: (Waiter) -> Bool) -> [Waiter] {
    let taken = waiters.filter(isTaken)
    if !taken.isEmpty { waiters.removeAll(where: isTaken) }
    return taken
  }

  // MARK: Pieces

  /// A piece is complete in memory. True if it is now to be written to disk.
  mutating func complete(_ piece: Int, isPlanned: Bool) -> Bool {
    memory[piece]!.isComplete = true
    memory[piece]!.isPlanned = isPlanned
    guard writes == .taken else { return false }
    memory[piece]!.isDirty = true
    dirty.append(piece)
    return true
  }

  /// A small object is written whole, a large one as its pieces come.
  var isReadyToWrite: Bool { isSmall ? dirty.count == pieceCount : !dirty.isEmpty }

  /// Ranges in flight that hold one of `pieces`. Each is returned once.
  mutating func takeComing(for pieces: [Int]) -> [Range<Int>] {
    if isSmall { return [] }
    return fetches.compactMap { fetch in
      guard !fetch.isAllocated, fetch.hasBegun, pieces.contains(where: fetch.pieces.contains) else {
        return nil
      }
      fetch.isAllocated = true
      return fetch.pieces
    }
  }

  /// Takes pieces out of memory; their blocks are the caller's to release.
  mutating func removeFromMemory(_ pieces: some Sequence<Int>) -> [BlockPool.Block] {
    pieces.compactMap { memory.removeValue(forKey: $0)?.block }
  }

  /// What the disk holds of these pieces is wrong or unreadable: it is fetched again.
  mutating func dropFromDisk(_ pieces: some Sequence<Int>) {
    for piece in pieces { presence.drop(piece) }
    streams.forgetPlans()
  }
}

/// A piece of an answer.
enum Part {
  /// Retained for the holder of the part.
  case memory(BlockPool.Block, offset: Int, count: Int)
  /// `offset` in the cache file.
  case disk(offset: UInt64, count: Int)
}

/// A read that could not be answered at once.
struct Waiter {
  var bytes: Range<UInt64>
  var deadline: Instant
  var parked: any ParkedRead
  /// It had to wait for the store, and not only for a cold disk.
  var waitedForStore = false
  /// Its place in the line for memory, once it has needed any.
  var ticket: ReadAdmission.Ticket?
  let parkedAt = Instant.now
  /// Of the last fetch that it waited for: when it was sent, when its first byte came, when it was enough.
  var served: Served?
  /// Tries to read it from the disk that failed; a disk that keeps failing is given up.
  var diskFailures = 0

  mutating func served(by fetch: ObjectFetch, at now: Instant) {
    waitedForStore = true
    served = Served(
      sentAt: fetch.sentAt, firstByteAt: fetch.firstByteAt ?? now, at: now,
      limitedBefore: fetch.limited.before, limitedAfter: fetch.limited.after)
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
