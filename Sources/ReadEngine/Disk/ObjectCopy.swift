/// The copy of an object on disk: looked for, read, checked, written, removed. No I/O is done under the object's lock.
import Logging
import Metrics
import ObjectStore
import Posix
import Synchronization
import SystemPackage

/// The work of the disk for one object: a name for it, it holds nothing itself.
struct ObjectCopy: Sendable {
  let object: CachedObject

  var services: EngineServices { object.services }
  var version: ObjectVersion { object.version }
  var id: FileID { object.id }

  /// How long the disk is not tried again after it took nothing of an object: space comes free as files are closed
  /// and evicted, and descriptors as others end.
  private static let refusal = Duration.seconds(5)

  /// Segments read when a file is opened, so that a whole object is known for one: 32 GiB worth.
  private static let segmentsLoadedAtOpen = 64

  // MARK: Looking for it

  /// Finds out what the disk has. Every opener calls it; the first does it, and the first after a refusal.
  func prepare() {
    if object.withMachine({ $0.blocks.disk.isPrepared }) { return }
    let trouble: Errno? = object.connection.withLock { _ in
      object.withMachine({ $0.blocks.disk.isPrepared }) ? nil : connect(isPreparing: true)
    }
    report(trouble)
  }

  /// The same while bytes arrive, once a refusal is over.
  func connectIfTimeToWrite() {
    report(
      object.connection.withLock { _ in
        object.withMachine { $0.blocks.isTimeToWrite(at: .now) }
          ? connect(isPreparing: false) : nil
      })
  }

  /// Files that are kept open for later use may be closed for it: without a lock held.
  private func report(_ trouble: Errno?) {
    if let trouble {
      services.notices.diskTrouble("cannot open the cached copy of \(version.key)", trouble)
    }
  }

  /// Has the object down as open with the disk tier, and opens its copy if there is one. Returns why it cannot be
  /// determined what there is. With `connection` held.
  private func connect(isPreparing: Bool) -> Errno? {
    let isPossible = version.size > 0 && services.disk?.holdsFile(ofSize: version.size) ?? false
    let retryAt = Instant.now + Self.refusal
    let request = object.withMachine {
      $0.blocks.beginConnecting(isPossible: isPossible, retryAt: retryAt)
    }
    let found = request.flatMap { request in services.disk.map { look(request, on: $0) } }
    let (connection, work) = object.withState { state in
      let connection = found.map { state.machine.blocks.connected($0.outcome) } ?? .unchanged
      if connection == .adopted {
        state.file = found?.file
        object.publishIfWhole(&state)
      }
      // At once: a part of a small object that came in between would wait for its rest, which is not written.
      let actions = isPreparing ? state.machine.prepared(retryAt: retryAt) : []
      return (connection, object.resolve(actions, &state))
    }
    if connection == .unwanted { removeFiles() }
    if connection == .adopted, let file = found?.file {
      services.disk?.account(id, bytes: file.allocatedBytes)
    }
    object.perform(work)
    return found?.trouble
  }

  private struct Found {
    var outcome: DiskOutcome
    var file: CacheFile?
    var trouble: Errno?
  }

  private func look(_ request: DiskRequest, on disk: DiskTier) -> Found {
    var found = Found(outcome: DiskOutcome(isCounted: request.isCounted || disk.open(id)))
    guard found.outcome.isCounted, !request.hasCopy else { return found }
    do throws(Errno) {
      found.file = try CacheFile.open(version, id, in: disk.folder)
      found.outcome.records = found.file.map { recordsAtOpen(of: $0) }
    } catch {
      found.outcome.hasFailed = true
      found.trouble = error
    }
    return found
  }

  // MARK: Records

  private func presenceRecords(of file: CacheFile) -> RecordedPresence? {
    services.disk.map {
      RecordedPresence(
        file: file, pieceCount: Geometry.pieceCount(ofSize: version.size),
        trusted: $0.folder.trusted)
    }
  }

  /// What is read of the records when the file is opened: of a large object nothing yet.
  private func recordsAtOpen(of file: CacheFile) -> LoadedSegments {
    let limit = Self.segmentsLoadedAtOpen * PresenceMap.piecesPerSegment
    let isLarge = Geometry.pieceCount(ofSize: version.size) > limit
    return (isLarge ? nil : presenceRecords(of: file)?.loadAll()) ?? LoadedSegments()
  }

  func loadOnWorker(_ segments: [Int], of copy: CopyID, _ file: CacheFile?) {
    let isTaken = services.diskReads.workers.submit { load(segments, of: copy, file) }
    if !isTaken { object.handle { $0.segmentsNotLoaded(segments, of: copy) } }
  }

  /// Reads segments of records. Waits for the disk.
  private func load(_ segments: [Int], of copy: CopyID, _ file: CacheFile?) {
    let loaded = file.flatMap { presenceRecords(of: $0)?.load(segments) } ?? LoadedSegments()
    hand(loaded, of: copy)
  }

  /// Hands in what this thread has read; it may wait for the disk again.
  private func hand(_ loaded: LoadedSegments, of copy: CopyID) {
    let terms = object.terms
    let work = object.withState { state in
      let actions = state.machine.segmentsLoaded(loaded, of: copy, terms)
      object.publishIfWhole(&state)
      return object.resolve(actions, &state)
    }
    object.perform(work, mayBlock: true)
  }

  /// Has the records of `pieces` read on this thread, which may wait for the disk.
  func loadRecords(of pieces: Range<Int>) {
    let (unknown, copy, file) = object.withState {
      (
        $0.machine.blocks.disk.presence.unknownSegments(of: pieces), $0.machine.blocks.disk.copy,
        $0.file
      )
    }
    if let copy, !unknown.isEmpty { load(unknown, of: copy, file) }
  }

  /// Has all records read on this thread, which may wait for the disk.
  func loadAllRecords() {
    let (presence, copy, file) = object.withState { state in
      (state.machine.blocks.disk.presence, state.machine.blocks.disk.copy, state.file)
    }
    guard !presence.isAllKnown, let copy, let file, let records = presenceRecords(of: file)
    else { return }
    hand(records.loadAll(for: presence), of: copy)
  }

  /// Every piece is on disk by its record. Waits for the disk, no longer than until the first one that lacks.
  var isWholeInRecords: Bool {
    var last: Int?
    while true {
      switch object.withMachine({ $0.blocks.disk.presence.wholeness }) {
      case .whole: return true
      case .partial: return false
      case .unknown(let segment):
        // A copy that goes away meanwhile is not whole.
        if segment == last { return false }
        last = segment
        let first = segment * PresenceMap.piecesPerSegment
        loadRecords(of: first..<first + 1)
      }
    }
  }

  // MARK: By hand

  /// Compares every piece on disk with its record. Returns the bytes of those that were dropped.
  func verifyAll(isStopped: () -> Bool) -> UInt64 {
    loadAllRecords()
    let pieces = object.withMachine { $0.blocks.disk.presence.presentPieces }
    verify(pieces, isStopped: isStopped)
    let left = object.withMachine { machine in
      pieces.filter { machine.blocks.disk.presence.isPresent($0) }
    }
    let lost = Set(pieces).subtracting(left)
    return lost.reduce(0) { $0 + UInt64(Geometry.length(ofPiece: $1, size: version.size)) }
  }

  /// Waits for the disk where records are not known: those of an object over 32 GiB.
  var residence: Residence {
    if isWholeInRecords { return .disk }
    loadAllRecords()
    return object.withMachine { machine in
      let complete = machine.blocks.memory.completeCount
      if complete == machine.blocks.pieceCount { return .memory }
      return complete == 0 && machine.blocks.disk.presence.presentCount == 0 ? .store : .partial
    }
  }

  // MARK: From the disk writer

  /// The pieces to write now, in order. They stay in memory, untouched, until `wrote` or `couldNotWrite`.
  func nextBatch() -> WriteBatch? {
    let next = object.withState { state in state.machine.nextBatch().map { ($0, state.file) } }
    guard let (plan, file) = next else { return nil }
    let bytes = zip(plan.pieces, plan.blocks).map { piece, block in
      UnsafeRawBufferPointer(
        start: services.pool.address(of: block),
        count: Geometry.length(ofPiece: piece, size: version.size))
    }
    return WriteBatch(plan: plan, bytes: bytes, file: file)
  }

  /// The pieces are in `file`: from now on they are read from there. False: what is on disk of the object was dropped
  /// meanwhile; the pieces stay in memory, and `file` is not used.
  func wrote(_ batch: WriteBatch, to file: CacheFile) -> Bool {
    let (isAccepted, work) = object.withState { state in
      let (isAccepted, actions) = state.machine.wrote(batch.plan)
      if isAccepted {
        state.file = file
        object.publishIfWhole(&state)
      }
      return (isAccepted, object.resolve(actions, &state))
    }
    object.perform(work)
    return isAccepted
  }

  /// The disk did not take them: they stay in memory as long as there is room.
  func couldNotWrite(_ batch: WriteBatch) {
    let retryAt = Instant.now + Self.refusal
    object.handle { $0.couldNotWrite(batch.plan, retryAt: retryAt) }
  }
}
