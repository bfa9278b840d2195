/// One range on its way from the store into blocks of the pool.
import Glibc
import ObjectStore
import Posix
import SystemPackage

/// Everything mutable is guarded by the lock of the object, but for `position`, which only the
/// store's thread touches.
final class ObjectFetch: FetchSink, Schedulable, @unchecked Sendable {
  let object: CachedObject
  /// Guarded by the dispatcher's lock.
  var isPromoted = false
  /// Guarded by the dispatcher's lock.
  var passes = 0
  let rank: FetchRank
  /// What wants it, if it is not a reader.
  let run: PrefetchRun?
  /// What it will bring. Cut down to what is needed when memory is short.
  private(set) var pieces: Range<Int>
  /// The bytes of `pieces` before they were cut down. Waiters for any of them are notified when the fetch ends.
  let planned: Range<UInt64>
  private(set) var hasBegun = false
  private(set) var filledTo: UInt64
  /// The disk has given its range its blocks, or was asked to.
  var isAllocated = false

  /// Of its first pieces, as far as bytes have come. Only the store's thread touches it.
  private var blocks: [BlockPool.Block] = []
  private var kind: FetchKind?
  private(set) var sentAt = Instant(nanoseconds: 0)
  private(set) var firstByteAt: Instant?
  /// What our own rate limits held it back, before its first byte and after.
  private(set) var limited = (before: Duration.zero, after: Duration.zero)
  private var position: UInt64
  private var end: UInt64
  /// Nothing has arrived before all of it was verified.
  private var isVerified = false
  /// The store gave more than was asked for.
  private var hasOverrun = false
  private var store: (any ObjectStore)?
  private var request: FetchRequest?
  /// The store said once that there is no such object, and was asked whether that is so.
  private var hasConfirmed = false
  /// The least position at which a reader may have become ready.
  private var wakeAt = UInt64.max

  init(
    of object: CachedObject, pieces: Range<Int>, rank: FetchRank, run: PrefetchRun? = nil
  ) {
    self.object = object
    self.pieces = pieces
    self.rank = rank
    self.run = run
    let bytes = Geometry.bytes(ofPieces: pieces, size: object.version.size)
    planned = bytes
    filledTo = bytes.lowerBound
    position = bytes.lowerBound
    end = bytes.upperBound
  }

  // MARK: Under the object's lock

  var bytes: Range<UInt64> { Geometry.bytes(ofPieces: pieces, size: object.version.size) }

  /// Remembers to look after `waiter` when its last byte of this fetch has come.
  func wake(for waiter: Waiter) {
    let last = min(waiter.bytes.upperBound, end)
    if last > filledTo, waiter.bytes.lowerBound < end { wakeAt = min(wakeAt, last) }
  }

  func forgetWakes() { wakeAt = .max }

  /// Takes note of arrived bytes in `state`: which pieces are complete, and whether a reader may be
  /// ready.
  func advance(to position: UInt64, in state: inout ObjectState) -> (
    completed: Range<Int>, wakes: Bool
  ) {
    let firstPiece = Int(filledTo / UInt64(Geometry.pieceSize))
    filledTo = position
    let lastPiece = Int((position - 1) / UInt64(Geometry.pieceSize))
    for piece in firstPiece...lastPiece {
      let length = Geometry.length(ofPiece: piece, size: object.version.size)
      let filled = min(length, Int(position - Geometry.start(ofPiece: piece)))
      let block = blocks[piece - pieces.lowerBound]
      state.memory[piece, default: MemoryPiece(block: block)].filled = filled
    }
    let completedEnd = position == end ? pieces.upperBound : lastPieceBoundary(position)
    return (firstPiece..<max(firstPiece, completedEnd), position >= wakeAt)
  }

  private func lastPieceBoundary(_ position: UInt64) -> Int {
    Int(position / UInt64(Geometry.pieceSize))
  }

  /// It is about to be sent, for these pieces.
  func begin(_ pieces: Range<Int>) {
    self.pieces = pieces
    hasBegun = true
    filledTo = bytes.lowerBound
    end = bytes.upperBound
  }

  // MARK: Called by the dispatcher

  /// Sends it. A block for each of `pieces` has been promised to it.
  func begin(
    _ pieces: Range<Int>, _ kind: FetchKind, _ store: any ObjectStore,
    deadline: Instant
  ) {
    self.kind = kind
    let bytes = object.begin(self, pieces)
    if bytes != planned { run?.cut(planned, to: bytes) }
    position = bytes.lowerBound
    sentAt = .now
    request = FetchRequest(
      version: object.version, range: bytes, deadline: deadline, learnt: object.learntETag)
    self.store = store
    store.fetch(request!, into: self)
  }

  /// It was never sent. Readers that counted on it plan anew.
  func abandon() {
    object.ended(self, .success(()))
    run?.ended(.failure(StoreError(.cancelled, store: "", detail: "was not sent")))
  }

  /// One of several ranges of its object.
  var isPart: Bool { planned.count < object.version.size }

  // MARK: FetchSink

  var isAwaited: Bool { object.state.withLock { _ in wakeAt != .max } }

  func waitedForLimit(_ time: Duration) {
    if firstByteAt == nil { limited.before += time } else { limited.after += time }
  }

  func beginVerified() {
    isVerified = true
    position = bytes.lowerBound
  }

  func receive(_ bytes: UnsafeRawBufferPointer) {
    // More than was asked for is a store's defect: which of its bytes are right cannot be known.
    guard UInt64(bytes.count) <= end - position else {
      hasOverrun = true
      return
    }
    var rest = bytes
    guard !rest.isEmpty else { return }
    if firstByteAt == nil { firstByteAt = .now }
    let pieceSize = UInt64(Geometry.pieceSize)
    while !rest.isEmpty {
      let piece = Int(position / pieceSize)
      let offset = Int(position % pieceSize)
      // It has them already where its content is sent again.
      if piece - pieces.lowerBound == blocks.count { blocks.append(object.services.pool.take()) }
      let count = min(rest.count, Geometry.pieceSize - offset)
      let block = object.services.pool.address(of: blocks[piece - pieces.lowerBound])
      memcpy(block + offset, rest.baseAddress!, count)
      position += UInt64(count)
      rest = UnsafeRawBufferPointer(rebasing: rest[count...])
    }
    if !isVerified { object.arrived(self, upTo: position) }
  }

  func finish(_ result: Result<Void, StoreError>) {
    if case .failure(let error) = result, error.kind == .notFound, !hasConfirmed {
      return confirm(error)
    }
    conclude(checked(result))
  }

  /// A success has brought what was asked for, no less and no more.
  private func checked(_ result: Result<Void, StoreError>) -> Result<Void, StoreError> {
    guard case .success = result, hasOverrun || position != end, let store else { return result }
    return .failure(
      StoreError(
        .badReply, store: store.displayName, key: object.version.key,
        detail: "the store sent \(hasOverrun ? "more" : "fewer") bytes than requested"))
  }

  /// One server of many, or a proxy, may lack what is there: the object counts as removed only if a HEAD says so
  /// too. Readers wait meanwhile; the deadline stays.
  private func confirm(_ missing: StoreError) {
    hasConfirmed = true
    guard let store, let request, !object.services.dispatcher.isStopped else {
      return conclude(.failure(missing))
    }
    if isVerified { position = bytes.lowerBound }
    if position == end { return conclude(checked(.success(()))) }
    let rest = FetchRequest(
      version: request.version, range: position..<end, deadline: request.deadline,
      learnt: request.learnt)
    store.head(request.version.key, deadline: request.deadline) { [self] result in
      switch result {
      // Whether it is the same version the second try finds out.
      case .success: store.fetch(rest, into: self)
      case .failure(let error): conclude(.failure(error.kind == .notFound ? missing : error))
      }
    }
  }

  private func conclude(_ result: Result<Void, StoreError>) {
    object.services.pool.takeBack(promised: pieces.count - blocks.count)
    if isVerified { endVerified(result) }
    let dispatcher = object.services.dispatcher
    if case .success = result, let firstByteAt {
      dispatcher.note(
        LinkEstimate.Sample(
          firstByte: max(.zero, firstByteAt - sentAt - limited.before),
          bytes: Int(position - bytes.lowerBound),
          transfer: max(.zero, .now - firstByteAt - limited.after)), of: self,
        as: kind?.rank ?? rank)
    }
    object.ended(self, result)
    if let kind { dispatcher.ended(kind) }
    run?.ended(result)
  }

  /// All has arrived at once, or nothing has.
  private func endVerified(_ result: Result<Void, StoreError>) {
    if case .success = result { return object.arrived(self, upTo: position) }
    for block in blocks { object.services.pool.release(block) }
    blocks = []
  }
}
