/// One range on its way from the store into blocks of the pool.
import Glibc
import ObjectStore
import Posix
import SystemPackage

/// A buffer with a cursor. Its object knows it by its number; it tells its object what has come.
final class ObjectFetch: FetchSink, Schedulable, @unchecked Sendable {
  let owner: any FetchOwner
  let plan: FetchPlan
  /// What wants it, if it is not a reader.
  let run: PrefetchRun?
  /// Guarded by the dispatcher's lock.
  var isPromoted = false
  /// Guarded by the dispatcher's lock.
  var passes = 0

  /// What it was sent with: set before the store knows of it. From then on only the store's thread touches this and
  /// what follows.
  private var start: FetchStart?
  private var request: FetchRequest?
  private var delivery: Delivery
  private var times = FetchTimes()

  /// What has come of it.
  private struct Delivery {
    /// What was asked for.
    var range: Range<UInt64>
    var firstPiece: Int
    var position: UInt64
    /// Of its first pieces, as far as bytes have come.
    var blocks: [BlockPool.Block] = []
    /// Nothing has arrived before all of it was verified.
    var isVerified = false
    /// The store gave more than was asked for.
    var hasOverrun = false
    /// The store said once that there is no such object, and was asked whether that is so.
    var hasConfirmed = false

    init(_ range: Range<UInt64>, firstPiece: Int) {
      self.range = range
      self.firstPiece = firstPiece
      position = range.lowerBound
    }
  }

  init(_ plan: FetchPlan, of owner: any FetchOwner, for run: PrefetchRun? = nil) {
    self.plan = plan
    self.owner = owner
    self.run = run
    let range = Geometry.bytes(ofPieces: plan.pieces, size: owner.version.size)
    delivery = Delivery(range, firstPiece: plan.pieces.lowerBound)
    planned = range
  }

  /// The bytes that it was planned for; what is sent may be less.
  let planned: Range<UInt64>

  /// One of several ranges of its object.
  var isPart: Bool { planned.count < owner.version.size }

  // MARK: Called by the dispatcher

  /// Sends it. A block for each piece of `start` has been promised to it.
  func begin(_ start: FetchStart) {
    self.start = start
    let range = owner.fetchBegan(plan.id, start.pieces) ?? planned
    if range != planned { run?.cut(planned, to: range) }
    delivery = Delivery(range, firstPiece: start.pieces.lowerBound)
    times.sentAt = .now
    let request = FetchRequest(
      version: owner.version, range: range, deadline: start.deadline, learnt: owner.learntETag)
    self.request = request
    switch plan.source {
    case .store: start.store.fetch(request, into: self)
    }
  }

  /// It was never sent. Readers that counted on it plan anew.
  func abandon() {
    owner.fetchEnded(plan.id, .success(()), times)
    run?.ended(.failure(StoreError(.cancelled, store: "", detail: "was not sent")))
  }

  // MARK: FetchSink

  var isAwaited: Bool { owner.isAwaited(plan.id) }

  func waitedForLimit(_ time: Duration) {
    if times.firstByteAt == nil { times.limitedBefore += time } else { times.limitedAfter += time }
  }

  func beginVerified() {
    delivery.isVerified = true
    delivery.position = delivery.range.lowerBound
  }

  func receive(_ bytes: UnsafeRawBufferPointer) {
    guard let pool = start?.pool else { return }
    // More than was asked for is a store's defect: which of its bytes are right cannot be known.
    guard UInt64(bytes.count) <= delivery.range.upperBound - delivery.position else {
      delivery.hasOverrun = true
      return
    }
    var rest = bytes
    guard !rest.isEmpty else { return }
    if times.firstByteAt == nil { times.firstByteAt = .now }
    let pieceSize = UInt64(Geometry.pieceSize)
    while !rest.isEmpty {
      let place = Int(delivery.position / pieceSize) - delivery.firstPiece
      let offset = Int(delivery.position % pieceSize)
      // It has them already where its content is sent again.
      if place == delivery.blocks.count { delivery.blocks.append(pool.take()) }
      let count = min(rest.count, Geometry.pieceSize - offset)
      memcpy(pool.address(of: delivery.blocks[place]) + offset, rest.baseAddress!, count)
      delivery.position += UInt64(count)
      rest = UnsafeRawBufferPointer(rebasing: rest[count...])
    }
    if !delivery.isVerified { arrived() }
  }

  private func arrived() {
    owner.bytesArrived(plan.id, upTo: delivery.position, in: delivery.blocks, times)
  }

  func finish(_ result: Result<Void, StoreError>) {
    guard let start, let request else { return }
    if case .failure(let error) = result, error.kind == .notFound, !delivery.hasConfirmed {
      return confirm(error, request, start)
    }
    conclude(checked(result, start), start)
  }

  /// A success has brought what was asked for, no less and no more.
  private func checked(
    _ result: Result<Void, StoreError>, _ start: FetchStart
  ) -> Result<Void, StoreError> {
    guard case .success = result,
      delivery.hasOverrun || delivery.position != delivery.range.upperBound
    else { return result }
    return .failure(
      StoreError(
        .badReply, store: start.store.displayName, key: owner.version.key,
        detail: "the store sent \(delivery.hasOverrun ? "more" : "fewer") bytes than requested"))
  }

  /// One server of many, or a proxy, may lack what is there: the object counts as removed only if a HEAD says so
  /// too. Readers wait meanwhile; the deadline stays.
  private func confirm(_ missing: StoreError, _ request: FetchRequest, _ start: FetchStart) {
    delivery.hasConfirmed = true
    guard !start.observer.isStopped else { return conclude(.failure(missing), start) }
    if delivery.isVerified { delivery.position = delivery.range.lowerBound }
    let (position, end) = (delivery.position, delivery.range.upperBound)
    if position == end { return conclude(checked(.success(()), start), start) }
    let rest = FetchRequest(
      version: request.version, range: position..<end, deadline: request.deadline,
      learnt: request.learnt)
    start.store.head(request.version.key, deadline: request.deadline) { [self] result in
      switch result {
      // Whether it is the same version the second try finds out.
      case .success: start.store.fetch(rest, into: self)
      case .failure(let error):
        conclude(.failure(error.kind == .notFound ? missing : error), start)
      }
    }
  }

  private func conclude(_ result: Result<Void, StoreError>, _ start: FetchStart) {
    start.pool.takeBack(promised: start.pieces.count - delivery.blocks.count)
    if delivery.isVerified { endVerified(result, start.pool) }
    if case .success = result, let firstByteAt = times.firstByteAt {
      start.observer.record(
        LinkEstimate.Sample(
          firstByte: max(.zero, firstByteAt - times.sentAt - times.limitedBefore),
          bytes: Int(delivery.position - delivery.range.lowerBound),
          transfer: max(.zero, .now - firstByteAt - times.limitedAfter)), of: self,
        as: start.kind.rank)
    }
    owner.fetchEnded(plan.id, result, times)
    start.observer.ended(start.kind)
    run?.ended(result)
  }

  /// All has arrived at once, or nothing has.
  private func endVerified(_ result: Result<Void, StoreError>, _ pool: BlockPool) {
    if case .success = result { return arrived() }
    for block in delivery.blocks { pool.release(block) }
    delivery.blocks = []
  }
}

/// What a fetch is sent with.
struct FetchStart {
  var pieces: Range<Int>
  var kind: FetchKind
  var store: any ObjectStore
  /// Blocks of it are promised: one for each piece.
  var pool: BlockPool
  var deadline: Instant
  var observer: any FetchObserver
}

/// Who sent a fetch, as far as the fetch knows it.
protocol FetchObserver: AnyObject, Sendable {
  /// Nothing is sent from here on.
  var isStopped: Bool { get }
  /// The fetch went well: what it tells of the network.
  func record(_ sample: LinkEstimate.Sample, of fetch: ObjectFetch, as rank: FetchRank)
  /// The fetch is over; its turn goes to another.
  func ended(_ kind: FetchKind)
}
