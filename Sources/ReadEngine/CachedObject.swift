import Glibc
/// One version in use: the shell around `ObjectState`. Takes the lock, asks, unlocks, acts.
///
/// Shared by everyone who has the version open; lives on until what was fetched is on disk.
import Logging
import Metrics
import ObjectStore
import Posix
import Synchronization
import SystemPackage

final class CachedObject: Sendable {
  let version: ObjectVersion
  let id: FileID
  let services: EngineServices
  /// The descriptor of the cache file once every piece is there and trusted, else -1: then a read takes
  /// no lock. The file stays open as long as the object lives.
  let wholeDescriptor = Atomic<CInt>(-1)
  let state: Lock<ObjectState>

  init(_ version: ObjectVersion, services: EngineServices) {
    self.version = version
    self.services = services
    id = FileID(store: services.storeIdentity, version: version)
    state = Lock(ObjectState(version, streamLimits: services.streamLimits))
  }

  /// Finds out what the disk has. Every opener calls it; the first does it.
  func prepare() {
    let allocated: UInt64? = state.withLock { state in
      guard !state.isPrepared else { return nil }
      state.isPrepared = true
      guard version.size > 0, let disk = services.disk, disk.open(id) else {
        state.takesWrites = false
        return nil
      }
      state.isCounted = true
      guard let file = CacheFile.open(version, id, in: disk.folder) else { return nil }
      adopt(file, in: &state)
      return file.allocatedBytes
    }
    if let allocated { services.disk?.account(id, bytes: allocated) }
  }

  /// Segments loaded when a file is opened, so that a whole object is known for one: 32 GiB worth.
  private static let segmentsLoadedAtOpen = 64

  private func adopt(_ file: CacheFile, in state: inout ObjectState) {
    state.file = file
    state.presence = PresenceMap(pieceCount: state.pieceCount, isEmpty: false)
    let limit = Self.segmentsLoadedAtOpen * PresenceMap.piecesPerSegment
    if state.pieceCount <= limit { loadSegments(0..<state.pieceCount, in: &state) }
    noteWhole(in: &state)
  }

  private func loadSegments(_ pieces: Range<Int>, in state: inout ObjectState) {
    guard let disk = services.disk else { return }
    state.loadSegments(of: pieces, trustedFrom: disk.folder.trustedFrom)
  }

  private func noteWhole(in state: inout ObjectState) {
    guard state.presence.isWholeAndTrusted, let file = state.file else { return }
    wholeDescriptor.store(file.descriptor, ordering: .releasing)
  }

  // MARK: Reading

  /// Answers at once from memory or from pages that the kernel has, else parks the reader.
  func read(
    _ bytes: Range<UInt64>, scratch: UnsafeMutableRawBufferPointer, reply: (ReadReply) -> Void,
    park: () -> any ParkedRead
  ) {
    let whole = wholeDescriptor.load(ordering: .acquiring)
    if whole >= 0 {
      if readAtOnce(whole, bytes, scratch, reply) { return }
    } else if readUnderLock(bytes, scratch, reply) {
      return
    }
    let deadline = Instant.now + services.configuration.ioTimeout
    services.metrics.reads.parked.add(1)
    advance(Waiter(bytes: bytes, deadline: deadline, parked: park()), mayBlock: false)
  }

  private func readUnderLock(
    _ bytes: Range<UInt64>, _ scratch: UnsafeMutableRawBufferPointer, _ reply: (ReadReply) -> Void
  ) -> Bool {
    let most = Geometry.pieces(covering: bytes).count
    return withUnsafeTemporaryAllocation(of: iovec.self, capacity: most) { vectors in
      withUnsafeTemporaryAllocation(of: BlockPool.Block.self, capacity: most) { blocks in
        var used = 0
        var descriptor: CInt = -1
        let plan: ObjectState.Plan? = state.withLock { state in
          loadSegments(Geometry.pieces(covering: bytes), in: &state)
          switch state.standing(of: bytes) {
          case .disk: descriptor = state.file?.descriptor ?? -1
          case .memory: used = pin(bytes, in: &state, vectors, blocks)
          default: return nil
          }
          return followStream(bytes, in: &state)
        }
        guard let plan else { return false }
        services.dispatcher.submit(plan.fetches, promoting: plan.promoted)
        guard used > 0 else {
          return descriptor >= 0 && readAtOnce(descriptor, bytes, scratch, reply)
        }
        count(bytes.count, from: .memory)
        reply(.data(UnsafeBufferPointer(rebasing: vectors[..<used])))
        for block in blocks[..<used] { release(block) }
        return true
      }
    }
  }

  private func pin(
    _ bytes: Range<UInt64>, in state: inout ObjectState,
    _ vectors: UnsafeMutableBufferPointer<iovec>,
    _ blocks: UnsafeMutableBufferPointer<BlockPool.Block>
  ) -> Int {
    var used = 0
    for piece in Geometry.pieces(covering: bytes) {
      let start = Geometry.start(ofPiece: piece)
      let from = max(start, bytes.lowerBound)
      let to = min(state.end(piece), bytes.upperBound)
      let block = state.memory[piece]!.block
      state.memory[piece]!.wasRead = true
      services.pool.retain(block)
      blocks.initializeElement(at: used, to: block)
      let base = services.pool.address(of: block) + Int(from - start)
      vectors.initializeElement(at: used, to: iovec(iov_base: base, iov_len: Int(to - from)))
      used += 1
    }
    return used
  }

  /// True if the kernel had every byte in its page cache: a FUSE thread does not wait for a cold disk.
  private func readAtOnce(
    _ descriptor: CInt, _ bytes: Range<UInt64>, _ scratch: UnsafeMutableRawBufferPointer,
    _ reply: (ReadReply) -> Void
  ) -> Bool {
    guard services.files.readNow(descriptor, bytes, into: scratch) else { return false }
    count(bytes.count, from: .disk)
    var vector = iovec(iov_base: scratch.baseAddress, iov_len: bytes.count)
    withUnsafePointer(to: &vector) { reply(.data(UnsafeBufferPointer(start: $0, count: 1))) }
    return true
  }

  /// Takes note of a read and plans what is worth having after it.
  private func followStream(_ bytes: Range<UInt64>, in state: inout ObjectState) -> ObjectState.Plan
  {
    guard !state.isSmall, !state.isStale else { return ObjectState.Plan() }
    let ahead = state.streams.note(bytes, size: version.size)
    if ahead == 0 { return ObjectState.Plan() }
    return state.plan(for: bytes, ahead: ahead, chunk: services.chunk, of: self)
  }

  // MARK: Parked reads

  enum Step {
    case reply([Part], CacheFile?)
    case fail(Errno)
    case verify([Int])
    case parked(ObjectState.Plan)
  }

  /// Takes a reader one step on: to its answer, to the disk, or to its place among those that wait.
  /// `mayBlock`: this thread may wait for a disk.
  func advance(_ waiter: Waiter, mayBlock: Bool) {
    switch state.withLock({ step(waiter, in: &$0) }) {
    case .fail(let errno): fail(waiter, errno)
    case .parked(let plan): services.dispatcher.submit(plan.fetches, promoting: plan.promoted)
    case .reply(let parts, let file):
      onDisk(waiter, needed: file != nil && !mayBlock) { object, waiter in
        object.answer(waiter, parts, file)
      }
    case .verify(let pieces):
      onDisk(waiter, needed: !mayBlock) { object, waiter in
        object.verify(pieces)
        object.advance(waiter, mayBlock: true)
      }
    }
  }

  private func onDisk(
    _ waiter: Waiter, needed: Bool, _ body: @escaping @Sendable (CachedObject, Waiter) -> Void
  ) {
    if !needed { return body(self, waiter) }
    let waiter = UncheckedSendable(waiter)
    if !services.diskWorkers.submit({ [self] in body(self, waiter.value) }) {
      fail(waiter.value, .ioError)
    }
  }

  private func step(_ waiter: Waiter, in state: inout ObjectState) -> Step {
    loadSegments(Geometry.pieces(covering: waiter.bytes), in: &state)
    switch state.standing(of: waiter.bytes) {
    case .disk, .mixed, .memory:
      let parts = state.parts(of: waiter.bytes, pool: services.pool)
      let needsDisk = parts.contains { if case .disk = $0 { true } else { false } }
      return .reply(parts, needsDisk ? state.file : nil)
    case .unverified:
      return .verify(state.unverified(in: waiter.bytes))
    case .missing:
      if state.isStale { return .fail(.staleNFSFileHandle) }
      if let failure = state.failure, failure.until > .now, failure.bytes.overlaps(waiter.bytes) {
        return .fail(failure.errno)
      }
      if waiter.deadline <= .now || services.dispatcher.isStopped { return .fail(.ioError) }
      let ahead = state.isSmall ? 0 : state.streams.note(waiter.bytes, size: version.size)
      let plan = state.plan(for: waiter.bytes, ahead: ahead, chunk: services.chunk, of: self)
      var waiter = waiter
      waiter.waitedForStore = true
      state.park(waiter)
      return .parked(plan)
    }
  }

  /// Answers from blocks and from the cache file, which this thread may wait for.
  private func answer(_ waiter: Waiter, _ parts: [Part], _ file: CacheFile?) {
    defer { for case .memory(let block, _, _) in parts { release(block) } }
    let diskBytes = parts.reduce(0) { sum, part in
      if case .disk(_, let count) = part { sum + count } else { sum }
    }
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: diskBytes, alignment: 16)
    defer { buffer.deallocate() }
    var position = 0
    var vectors: [iovec] = []
    for part in parts {
      switch part {
      case .memory(let block, let offset, let count):
        let base = services.pool.address(of: block) + offset
        vectors.append(iovec(iov_base: base, iov_len: count))
      case .disk(let offset, let count):
        let target = UnsafeMutableRawBufferPointer(rebasing: buffer[position..<position + count])
        let bytes = offset..<offset + UInt64(count)
        guard let file, services.files.read(file.descriptor, bytes, into: target) else {
          return diskFailed(waiter, bytes)
        }
        vectors.append(iovec(iov_base: target.baseAddress, iov_len: count))
        position += count
      }
    }
    let source: Source = waiter.waitedForStore ? .store : diskBytes > 0 ? .disk : .memory
    count(waiter.bytes.count, from: source)
    complete(waiter) { parked in vectors.withUnsafeBufferPointer { parked.complete(.data($0)) } }
  }

  /// The cache file did not give what it should hold: cut short, or a bad disk. Fetched again.
  private func diskFailed(_ waiter: Waiter, _ bytes: Range<UInt64>) {
    services.diskTrouble("cannot read the cached copy of \(version.key)", .last)
    var waiter = waiter
    waiter.diskFailures += 1
    let givesUp = waiter.diskFailures > 1
    dropFromDisk(Array(Geometry.pieces(covering: bytes)), refusing: givesUp)
    advance(waiter, mayBlock: true)
  }

  func fail(_ waiter: Waiter, _ errno: Errno) {
    services.metrics.reads.failures.add()
    complete(waiter) { $0.complete(.failure(errno)) }
  }

  private func complete(_ waiter: Waiter, _ body: (any ParkedRead) -> Void) {
    services.metrics.reads.parked.add(-1)
    body(waiter.parked)
  }

  // MARK: Trust

  /// Reads pieces whole and compares them with their records.
  private func verify(_ pieces: [Int]) {
    guard let file = state.withLock({ $0.file }) else { return }
    let buffer = UnsafeMutableRawBufferPointer.allocate(
      byteCount: Geometry.pieceSize, alignment: 4096)
    defer { buffer.deallocate() }
    var wrong: [Int] = []
    for piece in pieces {
      let start = Geometry.start(ofPiece: piece)
      let length = Geometry.length(ofPiece: piece, size: version.size)
      let target = UnsafeMutableRawBufferPointer(rebasing: buffer[..<length])
      let isRight =
        services.files.read(file.descriptor, start..<start + UInt64(length), into: target)
        && file.record(ofPiece: piece)?.crc == PieceRecord.crc(of: UnsafeRawBufferPointer(target))
      if isRight {
        state.withLock { state in
          if state.presence.isPresent(piece) { state.presence.markTrusted(piece) }
          noteWhole(in: &state)
        }
      } else {
        wrong.append(piece)
      }
    }
    if wrong.isEmpty { return }
    services.metrics.cache.corruptPieces.add(wrong.count)
    services.log.warning("\(wrong.count) damaged pieces of \(version.key) on disk; fetching again")
    dropFromDisk(wrong, refusing: false)
  }

  /// `refusing`: the disk keeps failing, do without it while this version is open.
  private func dropFromDisk(_ pieces: [Int], refusing: Bool) {
    wholeDescriptor.store(-1, ordering: .releasing)
    let file: CacheFile? = state.withLock { state in
      let file = state.file
      if refusing || state.isSmall {
        // A small file is right or wrong as a whole.
        if let file { state.retiredFiles.append(file) }
        state.file = nil
        state.takesWrites = !refusing
        state.presence = PresenceMap(pieceCount: state.pieceCount, isEmpty: true)
      } else {
        state.dropFromDisk(pieces)
      }
      return file
    }
    guard let file, let disk = services.disk else { return }
    if refusing || version.size <= Geometry.smallObjectLimit {
      CacheFile.remove(id, in: disk.folder)
      disk.account(id, bytes: 0)
    } else {
      for piece in pieces { file.dropRecord(ofPiece: piece) }
    }
  }

  // MARK: Counting

  enum Source {
    case memory
    case disk
    case store
  }

  private func count(_ bytes: Int, from source: Source) {
    let reads = services.metrics.reads
    switch source {
    case .memory:
      reads.hitsInMemory.add()
      reads.bytesFromMemory.add(bytes)
    case .disk:
      reads.hitsOnDisk.add()
      reads.bytesFromDisk.add(bytes)
    case .store:
      reads.misses.add()
      reads.bytesFromStore.add(bytes)
    }
  }

  private func release(_ block: BlockPool.Block) {
    if services.pool.release(block) { services.dispatcher.pump() }
  }
}

/// Carries a value into a closure that runs once, on another thread.
struct UncheckedSendable<Value>: @unchecked Sendable {
  let value: Value
  init(_ value: Value) { self.value = value }
}

extension CachedObject {
  var isWholeOnDisk: Bool { wholeDescriptor.load(ordering: .relaxed) >= 0 }

  var residence: Residence {
    state.withLock { state in
      if state.presence.presentCount == state.pieceCount { return .disk }
      let complete = state.memory.values.count { $0.isComplete }
      if complete == state.pieceCount { return .memory }
      return complete + state.presence.presentCount == 0 ? .store : .partial
    }
  }
}
