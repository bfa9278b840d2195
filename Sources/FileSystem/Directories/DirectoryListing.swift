import ObjectStore
import Posix
import Synchronization

/// One listing of a directory, from its first page to its last. A reader that opened the directory while it
/// was the newest keeps it, and cookies index its entries, which never move.
///
/// It is where those who read a listing and the fetcher that fills it meet: readers wait here for pages, and a fetcher
/// that was started ahead of need waits here for a reader. Which listing is a directory's, and which inodes its entries
/// have, is not known here.
final class DirectoryListing: Sendable {
  private struct State {
    var builder: ListingBuilder
    var pages = 0
    var failure: StoreError?
    var waiters: [@Sendable () -> Void] = []
    var accounted = 0
    /// Open directories that read it.
    var pins = 0
    var demand: Demand
    /// Goes on with a fetch that waits for a reader. It owns the fetcher, which owns the listing: it is only here while
    /// a reader may come.
    var resume: (@Sendable () -> Void)?
  }

  private enum Demand {
    /// No reader has requested it yet.
    case ahead
    case requested
    /// Its directory stopped waiting for it before a reader requested it: none will.
    case unwanted
  }

  /// Consecutive entries, for a reader to go through without a lock.
  struct Slice {
    var block: DirentBlock
    /// Copies: a page to come may change the flags of the block's own.
    var entries: [DirentBlock.Entry]
  }

  enum Step {
    case entries(Slice)
    /// None yet, but more may come.
    case wait
    case complete
    case failed(StoreError)
  }

  enum Answer {
    /// The index of an entry.
    case entry(Int)
    case absent, undecided
  }

  let id: ListingID
  /// The key of its directory.
  let directory: ObjectKey
  /// The running hash of the paths of the directory's names.
  let pathHash: PathHash
  private let state: Lock<State>
  private let account: ByteAccount
  private let startedAt: Atomic<UInt64>
  private let listedAt: Atomic<UInt64>

  /// Freshness counts from here: what came later may be newer, never older.
  var started: Instant { Instant(nanoseconds: startedAt.load(ordering: .relaxed)) }

  /// When a listing first had these entries: tells what a kernel's copy of the names was made of.
  var unchangedSince: Instant { Instant(nanoseconds: listedAt.load(ordering: .relaxed)) }

  /// One that is to be fetched. `listingHasAttributes`: the store's listings have the true versions of objects.
  init(
    id: ListingID, directory: ObjectKey, started: Instant, listingHasAttributes: Bool = true,
    isAhead: Bool = false, account: ByteAccount
  ) {
    self.id = id
    self.directory = directory
    self.account = account
    startedAt = Atomic(started.nanoseconds)
    listedAt = Atomic(started.nanoseconds)
    pathHash = PathHash(directory.bytes)
    state = Lock(
      State(
        builder: ListingBuilder(folder: directory, listingHasAttributes: listingHasAttributes),
        demand: isAhead ? .ahead : .requested))
  }

  /// One that was kept from an earlier mount.
  init(
    id: ListingID, directory: ObjectKey, started: Instant, entries: DirentTable, hidden: Int,
    account: ByteAccount
  ) {
    self.id = id
    self.directory = directory
    self.account = account
    startedAt = Atomic(started.nanoseconds)
    listedAt = Atomic(started.nanoseconds)
    pathHash = PathHash(directory.bytes)
    var state = State(
      builder: ListingBuilder(folder: directory, entries: entries, hidden: hidden), pages: 1,
      demand: .requested)
    state.accounted = entries.heldBytes
    account.add(state.accounted)
    self.state = Lock(state)
  }

  deinit { account.add(-state.withLock { $0.accounted }) }

  /// Adds a page; the last one completes the listing. Returns the names it hides by then.
  func add(_ page: ListPage, isLast: Bool) -> Int? {
    let (waiters, hidden) = state.withLock { state -> ([@Sendable () -> Void], Int?) in
      guard !state.builder.isComplete, state.failure == nil else { return ([], nil) }
      state.builder.add(page, isLast: isLast)
      state.pages += 1
      let bytes = state.builder.entries.heldBytes
      account.add(bytes - state.accounted)
      state.accounted = bytes
      if isLast { state.resume = nil }
      defer { state.waiters = [] }
      return (state.waiters, isLast ? state.builder.hidden : nil)
    }
    for waiter in waiters { waiter() }
    return hidden
  }

  func fail(_ error: StoreError) {
    let waiters = state.withLock { state in
      if !state.builder.isComplete { state.failure = error }
      state.resume = nil
      defer { state.waiters = [] }
      return state.waiters
    }
    for waiter in waiters { waiter() }
  }

  /// A newer listing has the same entries: this one is as good as that.
  func renew(from newer: DirectoryListing) {
    startedAt.store(newer.startedAt.load(ordering: .relaxed), ordering: .relaxed)
  }

  func hasSameEntries(as other: DirectoryListing) -> Bool {
    let (count, digest) = state.withLock { ($0.builder.entries.count, $0.builder.entries.digest) }
    return other.state.withLock {
      $0.builder.entries.count == count && $0.builder.entries.digest == digest
    }
  }

  // MARK: Demand

  /// A reader requests it. Returns what goes on with a fetch that waits for one: the caller is to call it.
  func request() -> (@Sendable () -> Void)? {
    state.withLock { state in
      state.demand = .requested
      defer { state.resume = nil }
      return state.resume
    }
  }

  /// Its directory no longer waits for it: who has not requested it by now never will.
  func abandon() {
    // Freed outside the lock.
    _ = state.withLock { state in
      if state.demand == .ahead { state.demand = .unwanted }
      defer { state.resume = nil }
      return state.resume
    }
  }

  /// No reader has requested it.
  var isAhead: Bool { state.withLock { $0.demand != .requested } }

  /// No reader has requested it, and none will.
  var isUnwanted: Bool { state.withLock { $0.demand == .unwanted } }

  /// No reader has requested it yet, and its fetch waits for one.
  var isPaused: Bool { state.withLock { $0.resume != nil } }

  /// Calls `resume` once a reader requests it, or at once if one has; never, if none will or nothing is left to fetch.
  /// Calls that wait are all made.
  func whenRequested(_ resume: @escaping @Sendable () -> Void) {
    let isRequested = state.withLock { state in
      guard state.demand == .ahead else { return state.demand == .requested }
      guard !state.builder.isComplete, state.failure == nil else { return false }
      let before = state.resume
      state.resume = {
        before?()
        resume()
      }
      return false
    }
    if isRequested { resume() }
  }

  // MARK: Entries

  var hasPages: Bool { state.withLock { $0.pages > 0 || $0.failure != nil } }
  var isComplete: Bool { state.withLock { $0.builder.isComplete } }
  /// Entries, their digest, and names that are hidden.
  var totals: (count: Int, digest: UInt64, hidden: Int) {
    state.withLock {
      ($0.builder.entries.count, $0.builder.entries.digest, $0.builder.hidden)
    }
  }
  var isOrdered: Bool { state.withLock { $0.builder.isOrdered } }
  var count: Int { state.withLock { $0.builder.entries.count } }
  var bytes: Int { state.withLock { $0.accounted } }

  func pin() { state.withLock { $0.pins += 1 } }
  func unpin() { state.withLock { $0.pins -= 1 } }
  var isPinned: Bool { state.withLock { $0.pins > 0 } }

  /// Calls `waiter` after the next page, or at once if a page came since `count` entries were seen.
  func wait(beyond count: Int, _ waiter: @escaping @Sendable () -> Void) {
    let ready = state.withLock { state in
      if state.builder.entries.count > count || state.builder.isComplete || state.failure != nil {
        return true
      }
      state.waiters.append(waiter)
      return false
    }
    if ready { waiter() }
  }

  /// Calls `waiter` once the first page is there.
  func waitForFirstPage(_ waiter: @escaping @Sendable () -> Void) {
    let ready = state.withLock { state in
      if state.pages > 0 || state.failure != nil { return true }
      state.waiters.append(waiter)
      return false
    }
    if ready { waiter() }
  }

  func find(_ name: [UInt8]) -> Answer {
    name.withUnsafeBytes { name in
      state.withLock { state in
        guard state.builder.decides(name) else { return .undecided }
        return state.builder.entries.index(of: name).map { .entry($0) } ?? .absent
      }
    }
  }

  /// Where an entry is that can be seen, whatever pages to come may make of it.
  func shown(_ name: UnsafeRawBufferPointer) -> Int? {
    state.withLock { $0.builder.entries.index(of: name) }
  }

  subscript(index: Int) -> DirentTable.Dirent { state.withLock { $0.builder.entries[index] } }

  /// At most `limit` entries from `index` on.
  func step(from index: Int, limit: Int) -> Step {
    state.withLock { state in
      if let (block, range) = state.builder.entries.run(from: index) {
        return .entries(Slice(block: block, entries: range.prefix(limit).map { block[$0] }))
      }
      if let failure = state.failure { return .failed(failure) }
      return state.builder.isComplete ? .complete : .wait
    }
  }

  /// The indices of at most `limit` directories, from entry `index` on.
  func directoryIndices(from index: Int, limit: Int) -> [Int] {
    state.withLock { state in
      let folders = state.builder.entries.folders
      var low = 0
      var high = folders.count
      while low < high {
        let middle = (low + high) / 2
        if Int(folders[middle]) < index { low = middle + 1 } else { high = middle }
      }
      return folders[low...].prefix(limit).map { Int($0) }
    }
  }

  /// Goes through all entries in order, a block at a time: `body` is given the index of the first.
  func forEachBlock(_ body: (Int, DirentBlock) -> Void) {
    var index = 0
    while let (block, range) = state.withLock({ $0.builder.entries.run(from: index) }) {
      body(index, block)
      index += range.count
    }
  }
}

/// Bytes that listings hold, those that only an open directory still keeps included.
final class ByteAccount: Sendable {
  private let held = Atomic<Int>(0)
  func add(_ bytes: Int) { held.add(bytes, ordering: .relaxed) }
  var bytes: Int { held.load(ordering: .relaxed) }
}
