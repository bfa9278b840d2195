/// The events of fetches, of the memory tier and of the disk.
import Posix
import SystemPackage

extension ObjectStateMachine {
  // MARK: From the dispatcher

  /// What to request of a fetch now: all of it, and at the least what admitted reads wait for, up to `limit` pieces
  /// of it. `nil` if the fetch is no longer wanted.
  func need(of id: FetchID, limit: Int) -> FetchNeed? {
    guard !failures.isStale, let fetch = fetches[id],
      fetch.rank == .demand || opens > 0 || !waiters.isEmpty
    else { return nil }
    return FetchNeed(
      pieces: fetch.pieces, needed: blocks.memory.needed(of: fetch.pieces, limit: limit))
  }

  /// A fetch is sent for these pieces; returns the range to ask for.
  mutating func fetchBegan(_ id: FetchID, _ pieces: Range<Int>) -> Range<UInt64>? {
    // Cut down to what is needed, for want of memory: the rest is to be planned anew.
    if pieces != fetches[id]?.pieces { streams.forgetPlans() }
    return fetches.begin(id, pieces)
  }

  /// A reader waits for bytes of it that have not come.
  func isAwaited(_ id: FetchID) -> Bool { fetches[id].map { $0.wakeAt != .max } ?? false }

  /// Fetches for what is missing of `pieces`, for a prefetch. `nil`: the version is stale.
  mutating func planPrefetch(
    _ pieces: Range<Int>, limit: Int, chunk: Int, _ rank: FetchRank
  ) -> PrefetchPlan? {
    if failures.isStale { return nil }
    return blocks.planner.planPrefetch(pieces, limit: limit, chunk: chunk, rank, &fetches)
  }

  // MARK: From the store

  /// The bytes of a fetch up to `position` have arrived, in `blocks` from its first piece on.
  mutating func bytesArrived(
    _ id: FetchID, upTo position: UInt64, in blocks: [BlockPool.Block], _ times: FetchTimes,
    _ terms: ReadTerms
  ) -> [ObjectAction] {
    guard let news = fetches.advance(id, to: position) else { return [] }
    let held = self.blocks.arrived(news, upTo: position, in: blocks)
    var actions: [ObjectAction] = []
    if !held.isEmpty { actions.append(.hold(held)) }
    if news.wakes { wakeReady(after: id, times, terms, &actions) }
    if !held.isEmpty { actions.append(.memoryMayBeFree(always: false)) }
    // A small object is written when its fetch has ended well, so that it is right as a whole.
    if !news.completed.isEmpty, !self.blocks.isSmall, self.blocks.queueForWriting() {
      actions.append(.write)
    }
    return actions
  }

  /// A fetch is over, or was never sent. Readers that it leaves without their bytes fail with it, or
  /// plan anew if nothing went wrong.
  mutating func fetchEnded(
    _ id: FetchID, _ failure: FetchFailure?, _ times: FetchTimes, _ terms: ReadTerms
  ) -> [ObjectAction] {
    guard let fetch = fetches.remove(id) else { return [] }
    if failure != nil || !fetch.hasBegun { streams.forgetPlans() }
    var actions: [ObjectAction] = []
    let freed = blocks.removeUnfinished(of: fetch, hasFailed: failure != nil)
    if !freed.isEmpty { actions.append(.release(freed)) }
    var isNewlyStale = false
    // A failed prefetch is recorded only if the version is stale. A reader that joined it sends its own request,
    // within its own deadline.
    if let failure, !fetch.isPrefetch || failure.errno == .staleNFSFileHandle {
      let missing = fetch.filledTo..<max(fetch.filledTo, fetch.end)
      isNewlyStale = failures.record(failure, missing: missing, at: terms.now)
    }
    if blocks.queueForWriting() { actions.append(.write) }
    let woken = waiters.removeAndReturn { $0.bytes.overlaps(fetch.planned) }
    if let failure, !fetch.isPrefetch, !failure.isCancelled || !woken.isEmpty {
      actions.append(.report)
    }
    if isNewlyStale {
      if failure?.forgetsCopy == true { forgetCopy(&actions) }
      actions.append(.becameStale)
    }
    for var waiter in woken {
      if fetch.hasBegun { waiter.wasServed(times, at: terms.now) }
      actions += advance(waiter, terms)
    }
    return actions
  }

  private mutating func forgetCopy(_ actions: inout [ObjectAction]) {
    let (held, isRemoved) = blocks.forgetCopy()
    if !held.isEmpty { actions.append(.hold(held)) }
    guard isRemoved else { return }
    streams.forgetPlans()
    actions.append(.removeCopy)
  }

  // MARK: From the memory tier

  /// How a piece that memory alone holds stands, as far as the object itself knows. `isDead`: it was last used too
  /// long ago to come back.
  mutating func look(at piece: Int, _ policy: EvictionPolicy, isDead: Bool) -> HeldLook {
    blocks.memory.look(at: piece, policy, isDead: isDead && opens == 0, isRead: readers > 0)
  }

  /// Takes a piece off the memory tier's list and out of memory. `nil`: it is gone already, or must stay.
  mutating func evict(_ piece: Int) -> BlockPool.Block? {
    guard let block = blocks.evict(piece) else { return nil }
    streams.forgetPlans()
    return block
  }

  /// Takes out of memory what it alone holds and no reader waits for. Returns the bytes and the blocks.
  mutating func dropFromMemory() -> (UInt64, [BlockPool.Block]) {
    streams.forgetPlans()
    return blocks.dropFromMemory()
  }

  // MARK: From the disk

  /// The disk was asked for a copy by the first open, or the first after a refusal.
  mutating func prepared(retryAt: Instant) -> [ObjectAction] {
    blocks.prepared(isFetching: !fetches.isEmpty, retryAt: retryAt)
    return blocks.disk.writes == .taken && blocks.queueForWriting() ? [.write] : []
  }

  /// Segments of records were read.
  mutating func segmentsLoaded(
    _ segments: LoadedSegments, of copy: CopyID, _ terms: ReadTerms
  ) -> [ObjectAction] {
    blocks.disk.load(segments, of: copy)
    var actions: [ObjectAction] = []
    // Those that wait for another copy's, too: they see what there is now.
    wakeAfterLoading(terms, &actions)
    return actions
  }

  /// No thread was there to read them: those that wait for them fail.
  mutating func segmentsNotLoaded(_ segments: [Int], of copy: CopyID) -> [ObjectAction] {
    blocks.disk.loadFailed(segments, of: copy)
    return waiters.removeAndReturn { $0.waitsForRecords }.map { .fail($0, .ioError) }
  }

  /// The pieces to write now, in order; nil: there are none, the object is out of the writer's queue.
  mutating func nextBatch() -> BatchPlan? {
    guard var batch = blocks.nextBatch() else { return nil }
    if !blocks.isSmall { batch.coming = fetches.coming(for: batch.pieces) }
    return batch
  }

  /// The pieces are on disk. Not accepted: what is on disk of the object was dropped since the batch was made; the
  /// pieces stay in memory.
  mutating func wrote(_ batch: BatchPlan) -> (isAccepted: Bool, [ObjectAction]) {
    guard let freed = blocks.wrote(batch) else {
      let held = blocks.memory.listEvictable(batch.pieces)
      return (false, [.hold(held), .memoryMayBeFree(always: true)])
    }
    return (true, [.release(freed), .memoryMayBeFree(always: true)])
  }

  /// The disk did not take them: they stay in memory as long as there is room.
  mutating func couldNotWrite(_ batch: BatchPlan, retryAt: Instant) -> [ObjectAction] {
    blocks.memory.clean(batch.pieces)
    let unwritten = batch.pieces + blocks.refuseWrites(until: retryAt)
    return [.hold(blocks.memory.listEvictable(unwritten)), .memoryMayBeFree(always: true)]
  }

  /// Pieces of `copy` are wrong or cannot be read: they are fetched again. `refusedUntil`: the disk keeps failing, it
  /// is done without until then.
  mutating func drop(
    _ pieces: [Int], of copy: CopyID, refusedUntil: Instant?
  ) -> [ObjectAction] {
    guard blocks.disk.copy == copy else { return [] }
    streams.forgetPlans()
    return blocks.drop(pieces, refusedUntil: refusedUntil) ? [.removeCopy] : []
  }

  /// The files of the former copy are gone: what came meanwhile may be written.
  mutating func copyRemoved() -> [ObjectAction] {
    blocks.disk.removed()
    return blocks.queueForWriting() ? [.write] : []
  }
}
