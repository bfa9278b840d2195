/// What happens to an object as its bytes arrive.
import ObjectStore
import Posix
import SystemPackage

extension CachedObject: FetchOwner {
  var hasReaders: Bool { withMachine { $0.readers > 0 } }

  func need(of fetch: FetchID, limit: Int) -> FetchNeed? {
    withMachine { $0.need(of: fetch, limit: limit) }
  }

  func fetchBegan(_ fetch: FetchID, _ pieces: Range<Int>) -> Range<UInt64>? {
    withMachine { $0.fetchBegan(fetch, pieces) }
  }

  func isAwaited(_ fetch: FetchID) -> Bool { withMachine { $0.isAwaited(fetch) } }

  func bytesArrived(
    _ fetch: FetchID, upTo position: UInt64, in blocks: [BlockPool.Block], _ times: FetchTimes
  ) {
    let terms = terms
    func arrive(tryingDisk: Bool) -> [Work]? {
      withState { state in
        if tryingDisk, state.machine.blocks.isTimeToWrite(at: terms.now) { return nil }
        let actions = state.machine.bytesArrived(fetch, upTo: position, in: blocks, times, terms)
        return resolve(actions, &state)
      }
    }
    if let work = arrive(tryingDisk: true) { return perform(work) }
    // What arrives now goes to the disk already, if it takes it again.
    copyOnDisk.connectIfTimeToWrite()
    if let work = arrive(tryingDisk: false) { perform(work) }
  }

  func fetchEnded(_ fetch: FetchID, _ result: Result<Void, StoreError>, _ times: FetchTimes) {
    var error: StoreError?
    if case .failure(let failed) = result { error = failed }
    let failure = error.map { error in
      FetchFailure(
        errno: error.readErrno, isChange: error.kind == .changed,
        isCancelled: error.kind == .cancelled,
        forgetsCopy: error.kind == .changed && isNameless)
    }
    let terms = terms
    let work = withState { state in
      state.fetches[fetch] = nil
      return resolve(state.machine.fetchEnded(fetch, failure, times, terms), &state)
    }
    perform(work, failure: error)
    services.retireIfIdle(self)
  }

  /// Without an ETag in its name another content may have the same size and time: that was seen by a reply's ETag.
  private var isNameless: Bool { version.etag.isEmpty && learntETag.value != nil }

  // MARK: Prefetch

  /// Fetches for a prefetch: they are the caller's to submit. `nil`: the version is stale.
  func planPrefetch(
    _ pieces: Range<Int>, limit: Int, chunk: Int, for run: PrefetchRun
  ) -> (plan: PrefetchPlan, fetches: [ObjectFetch])? {
    withState { state in
      guard
        let plan = state.machine.planPrefetch(pieces, limit: limit, chunk: chunk, run.rank)
      else { return nil }
      return (plan, plan.fetches.map { addFetch($0, for: run, &state) })
    }
  }

  /// Bytes that the disk lacks of `pieces`, their records and a new file's head; nil: the disk has no part in it.
  /// Waits for the disk where records are not known.
  func bytesMissing(of pieces: Range<Int>) -> UInt64? {
    copyOnDisk.loadRecords(of: pieces)
    return withMachine { $0.failures.isStale ? nil : $0.blocks.bytesMissing(of: pieces) }
  }

  // MARK: From the engine

  /// Ends readers whose time is over.
  func expire(at now: Instant) { handle { $0.expire(at: now) } }

  func failAllWaiters() { handle { $0.failAll(.ioError) } }

  /// The path has this version again, or still: the store has said so after it was found changed or missing. Reads may
  /// go on, each reply is held against the version as ever.
  func confirm() {
    let isNameless = isNameless
    withMachine { $0.failures.confirmed(isNameless: isNameless) }
  }
}
