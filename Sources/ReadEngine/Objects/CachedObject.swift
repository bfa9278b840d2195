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
  /// Of replies to all its fetches.
  let learntETag = LearntETag()
  /// When it was opened last, on the clock of opens.
  let lastUse = Atomic<Int64>(0)

  init(_ version: ObjectVersion, services: EngineServices) {
    self.version = version
    self.services = services
    id = FileID(store: services.storeIdentity, version: version)
    var state = ObjectState(version)
    state.protectsReads = services.configuration.protectsReads
    self.state = Lock(state)
  }

  /// Finds out what the disk has. Every opener calls it; the first does it, and the first after a refusal.
  func prepare() {
    var mustQueue = false
    let connection: DiskConnection? = state.withLock { state in
      guard !state.isPrepared else { return nil }
      state.isPrepared = true
      let connection = connectToDisk(&state)
      if state.writes == .taken {
        if state.writeWhatIsHeld() {
          mustQueue = queueForWriting(&state)
        } else {
          state.writes = .refused(until: .now + Self.refusal)
        }
      }
      return connection
    }
    if let connection { account(connection) }
    if mustQueue { services.writer?.enqueue(self) }
  }

  /// What came of looking for the object on disk.
  struct DiskConnection {
    /// Of the file that was found there.
    var allocatedBytes: UInt64?
    var trouble: Errno?
  }

  func account(_ connection: DiskConnection) {
    if let bytes = connection.allocatedBytes { services.disk?.account(id, bytes: bytes) }
    if let trouble = connection.trouble {
      services.diskTrouble("cannot open the cached copy of \(version.key)", trouble)
    }
  }

  /// Has the object down as open with the disk tier, and its file if there is one. Decides whether what arrives is
  /// written.
  func connectToDisk(_ state: inout ObjectState) -> DiskConnection {
    guard version.size > 0, let disk = services.disk, disk.holdsFile(ofSize: version.size),
      state.writes != .never
    else {
      state.writes = .never
      return DiskConnection()
    }
    state.writes = .refused(until: .now + Self.refusal)
    if !state.isCounted {
      guard disk.open(id) else { return DiskConnection() }
      state.isCounted = true
    }
    do throws(Errno) {
      var connection = DiskConnection()
      if state.file == nil, let file = try CacheFile.open(version, id, in: disk.folder) {
        adopt(file, in: &state)
        connection.allocatedBytes = file.allocatedBytes
      }
      state.writes = .taken
      return connection
    } catch {
      return DiskConnection(trouble: error)
    }
  }

  /// The object is at rest: its file may be evicted. The next open looks for it anew. The caller tells the disk tier, and
  /// lets the last references to the files go.
  func closeFile(_ state: inout ObjectState) -> [CacheFile] {
    wholeDescriptor.store(-1, ordering: .releasing)
    defer {
      state.file = nil
      state.retiredFiles = []
    }
    state.presence = PresenceMap(pieceCount: state.pieceCount)
    state.isCounted = false
    state.isPrepared = false
    if state.writes == .taken { state.writes = .refused(until: .now) }
    return state.retiredFiles + [state.file].compactMap { $0 }
  }

  /// The path has this version again, or still: the store has said so after it was found changed or missing. Reads may
  /// go on, each reply is held against the version as ever.
  func confirm() {
    state.withLock { state in
      // Without an ETag in its name another content may have the same size and time: that was seen by a reply's ETag.
      if state.isStaleByChange, version.etag.isEmpty, learntETag.value != nil { return }
      state.isStale = false
    }
  }

  /// Segments read when a file is opened, so that a whole object is known for one: 32 GiB worth.
  private static let segmentsLoadedAtOpen = 64

  func adopt(_ file: CacheFile, in state: inout ObjectState) {
    guard let disk = services.disk else { return }
    state.file = file
    state.presence = PresenceMap(
      pieceCount: state.pieceCount,
      records: RecordedPresence(
        file: file, pieceCount: state.pieceCount, trusted: disk.folder.trusted))
    let limit = Self.segmentsLoadedAtOpen * PresenceMap.piecesPerSegment
    if state.pieceCount <= limit { state.presence.loadAll() }
    noteWhole(in: &state)
  }

  func noteWhole(in state: inout ObjectState) {
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
        var hasFinished = false
        var descriptor: CInt = -1
        let plan: ObjectState.Plan? = state.withLock { state in
          switch state.standing(of: bytes) {
          case .disk:
            descriptor = state.file?.descriptor ?? -1
            // The last segment of a large object may have been read just now.
            noteWhole(in: &state)
          case .memory:
            used = pin(bytes, in: &state, vectors, blocks)
            hasFinished =
              bytes.upperBound % UInt64(Geometry.pieceSize) == 0
              || bytes.upperBound == version.size || used > 1
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
        // A block that was read to its end may be evicted.
        if hasFinished { services.dispatcher.memoryMayBeFree() }
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
      state.memory[piece]!.noteRead(toItsEnd: to == state.end(piece))
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
    let link = services.dispatcher.link
    let outlook = state.streams.note(
      bytes, size: version.size, maxWindow: link.window, pipe: link.pipe)
    // Measured: looking for what to fetch ahead, at each read, was four fifths of a hit.
    if outlook.ahead == 0 || state.lacksNothing { return ObjectState.Plan() }
    return state.plan(for: bytes, outlook, on: link, of: self)
  }

  // MARK: Counting

  typealias Source = ReadWait.Source

  func count(_ bytes: Int, from source: Source) {
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

  func release(_ block: BlockPool.Block) {
    if services.pool.release(block) { services.dispatcher.pump() }
  }
}

extension CachedObject {
  var isWholeOnDisk: Bool { wholeDescriptor.load(ordering: .relaxed) >= 0 }

  var residence: Residence {
    state.withLock { state in
      if state.presence.isWhole() { return .disk }
      let complete = state.memory.values.count { $0.isComplete }
      if complete == state.pieceCount { return .memory }
      return complete == 0 && !state.presence.hasAny() ? .store : .partial
    }
  }
}
