import Glibc
import Logging
import Metrics
import ObjectStore
import Posix
/// What happens to a version as its bytes arrive, are written, and go.
import Synchronization
import SystemPackage

extension CachedObject {
  // MARK: From the dispatcher

  /// What to request of a fetch now: all of it, and at the least what admitted reads wait for, up to `limit` pieces
  /// of it. `nil` if the fetch is no longer wanted.
  func need(
    of fetch: ObjectFetch, limit: Int
  ) -> (pieces: Range<Int>, needed: Range<Int>?)? {
    state.withLock { state in
      if state.isStale { return nil }
      let isWanted = fetch.rank == .demand || state.opens > 0 || !state.waiters.isEmpty
      guard isWanted else { return nil }
      return (fetch.pieces, state.needed(of: fetch.pieces, limit: limit))
    }
  }

  /// A fetch is sent for these pieces; returns the range to ask for.
  func begin(_ fetch: ObjectFetch, _ pieces: Range<Int>) -> Range<UInt64> {
    state.withLock { state in
      // Cut down to what is needed, for want of memory: the rest is to be planned anew.
      if pieces != fetch.pieces { state.streams.forgetPlans() }
      fetch.begin(pieces)
      return fetch.bytes
    }
  }

  // MARK: From the store

  func arrived(_ fetch: ObjectFetch, upTo position: UInt64) {
    var held: [Int] = []
    var connection: DiskConnection?
    var mustQueue = false
    let ready: [Waiter] = state.withLock { state in
      if case .refused = state.writes, state.isTimeToWrite(at: .now) {
        connection = connectToDisk(&state)
      }
      let news = fetch.advance(to: position, in: &state)
      var stays = false
      for piece in news.completed where !state.complete(piece, isPlanned: fetch.run != nil) {
        stays = true
      }
      if stays { held = state.listEvictable(news.completed) }
      // A small object is written when its fetch has ended well, so that it is right as a whole.
      if !news.completed.isEmpty, !state.isSmall { mustQueue = queueForWriting(&state) }
      return news.wakes ? state.takeReadyWaiters(after: fetch) : []
    }
    if let connection { account(connection) }
    services.memory.hold(held, of: self)
    for waiter in ready { advance(waiter, mayBlock: false) }
    if !held.isEmpty { services.dispatcher.memoryMayBeFree() }
    if mustQueue { services.writer?.enqueue(self) }
  }

  func queueForWriting(_ state: inout ObjectState) -> Bool {
    guard state.isReadyToWrite, !state.isQueuedForWriting else { return false }
    state.isQueuedForWriting = true
    return true
  }

  /// A fetch is over, or was never sent. Readers that it leaves without their bytes fail with it, or
  /// plan anew if nothing went wrong.
  func ended(_ fetch: ObjectFetch, _ result: Result<Void, StoreError>) {
    var failure: StoreError?
    if case .failure(let error) = result { failure = error }
    var isNewlyStale = false
    var mustQueue = false
    let (waiters, blocks): ([Waiter], [BlockPool.Block]) = state.withLock { state in
      state.fetches.removeAll { $0 === fetch }
      var unfinished: [Int] = []
      if failure != nil || !fetch.hasBegun { state.streams.forgetPlans() }
      if fetch.hasBegun {
        unfinished = fetch.pieces.filter { state.memory[$0]?.isComplete == false }
        if failure != nil, state.isSmall {
          // Half of a small object is of no use: it is written whole or not at all.
          unfinished = Array(fetch.pieces)
          state.dirty = []
        }
      }
      // A failed prefetch is recorded only if the version is stale. A reader that joined it sends its own request,
      // within its own deadline.
      if let failure, fetch.run == nil || failure.readErrno == .staleNFSFileHandle {
        isNewlyStale = note(failure, of: fetch, in: &state)
      }
      mustQueue = queueForWriting(&state)
      var waiters = state.takeWaiters(overlapping: fetch.planned)
      if fetch.hasBegun {
        for index in waiters.indices { waiters[index].served(by: fetch, at: .now) }
      }
      return (waiters, state.removeFromMemory(unfinished))
    }
    for block in blocks { services.pool.release(block) }
    if mustQueue { services.writer?.enqueue(self) }
    if let failure, fetch.run == nil, failure.kind != .cancelled || !waiters.isEmpty {
      report(failure)
    }
    if isNewlyStale {
      forgetIfNameless(failure)
      services.changed(version)
    }
    for waiter in waiters { advance(waiter, mayBlock: false) }
    services.retireIfIdle(self)
  }

  /// A content that only a reply's ETag tells from another may not be met again under the name of both.
  private func forgetIfNameless(_ failure: StoreError?) {
    guard failure?.kind == .changed, version.etag.isEmpty, learntETag.value != nil else { return }
    let (held, file) = state.withLock { state in
      let held = state.refuseWrites(until: .distantFuture)
      state.writes = .never
      return (state.listEvictable(held), state.file)
    }
    services.memory.hold(held, of: self)
    if let file { dropFromDisk([], of: file, refusing: true) }
  }

  /// How long a failure answers for its range: the kernel's second try comes at once.
  private static let failureMemory = Duration.seconds(1)

  private func note(
    _ error: StoreError, of fetch: ObjectFetch, in state: inout ObjectState
  ) -> Bool {
    let errno = error.readErrno
    if errno == .staleNFSFileHandle {
      defer { state.isStale = true }
      if error.kind == .changed { state.isStaleByChange = true }
      return !state.isStale
    }
    let missing = fetch.filledTo..<max(fetch.filledTo, fetch.bytes.upperBound)
    state.failure = ObjectState.Failure(
      bytes: missing, errno: errno, until: .now + Self.failureMemory)
    return false
  }

  private func report(_ error: StoreError) {
    services.metrics.store.errors.add()
    if error.kind != .cancelled { services.log.error("read failed: \(error)") }
  }

  // MARK: From the disk writer

  struct Batch {
    var pieces: [Int]
    var bytes: [UnsafeRawBufferPointer]
    var file: CacheFile?
    /// Ranges on their way of which these are the first to be written: worth their blocks in one go.
    var coming: [Range<Int>]
  }

  /// Most pieces that are written in one go, 8 MiB: the first of them are on disk soon.
  private static let batchLimit = 64

  /// The pieces to write now, in order. They stay in memory, untouched, until `wrote`.
  func takeBatch() -> Batch? {
    state.withLock { state in
      guard state.isReadyToWrite else {
        state.isQueuedForWriting = false
        return nil
      }
      state.dirty.sort()
      let count = state.isSmall ? state.dirty.count : min(state.dirty.count, Self.batchLimit)
      let pieces = Array(state.dirty.prefix(count))
      state.dirty.removeFirst(count)
      let bytes = pieces.map { piece in
        UnsafeRawBufferPointer(
          start: services.pool.address(of: state.memory[piece]!.block),
          count: Geometry.length(ofPiece: piece, size: version.size))
      }
      return Batch(
        pieces: pieces, bytes: bytes, file: state.file, coming: state.takeComing(for: pieces))
    }
  }

  /// The pieces are in `file`: from now on they are read from there. `old`: the file that the batch was taken for.
  /// False: what is on disk of the object was dropped meanwhile; the pieces stay in memory, and `file` is not used.
  func wrote(_ pieces: [Int], to file: CacheFile, takenFor old: CacheFile?) -> Bool {
    var held: [Int] = []
    let blocks: [BlockPool.Block]? = state.withLock { state in
      guard state.file === old, state.writes != .never else {
        for piece in pieces { state.memory[piece]?.isDirty = false }
        held = state.listEvictable(pieces)
        return nil
      }
      state.file = file
      for piece in pieces { state.presence.markTrusted(piece) }
      if state.presence.isWholeAndTrusted {
        wholeDescriptor.store(file.descriptor, ordering: .releasing)
      }
      return state.removeFromMemory(pieces)
    }
    guard let blocks else {
      services.memory.hold(held, of: self)
      services.dispatcher.pump()
      return false
    }
    for block in blocks { services.pool.release(block) }
    services.dispatcher.pump()
    return true
  }

  /// How long the disk is not tried again after it took nothing of an object: space comes free as files are closed
  /// and evicted, and descriptors as others end.
  static let refusal = Duration.seconds(5)

  /// The disk did not take them: they stay in memory as long as there is room.
  func couldNotWrite(_ pieces: [Int]) {
    let held = state.withLock { state in
      for piece in pieces { state.memory[piece]?.isDirty = false }
      return state.listEvictable(pieces + state.refuseWrites(until: .now + Self.refusal))
    }
    services.memory.hold(held, of: self)
    services.dispatcher.pump()
  }

  // MARK: From the engine

  /// Ends readers whose time is over.
  func expire(at now: Instant) {
    for waiter in state.withLock({ $0.takeWaiters(before: now) }) { timeOut(waiter) }
  }

  func failAllWaiters() {
    for waiter in state.withLock({ $0.takeWaiters { _ in true } }) { fail(waiter, .ioError) }
  }
}

extension StoreError {
  /// What a reader gets to see of a failed fetch.
  var readErrno: Errno {
    switch kind {
    case .changed, .notFound: .staleNFSFileHandle
    case .accessDenied, .badCredentials: .permissionDenied
    default: .ioError
    }
  }
}
