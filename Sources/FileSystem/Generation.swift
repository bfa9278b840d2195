import ObjectStore
import Posix
import Synchronization

/// One listing of a folder, from its first page to its last: whoever opened the folder while it was
/// the newest keeps it, and cookies index its entries, which never move.
final class Generation: Sendable {
  private struct State {
    var builder: ListingBuilder
    var pages = 0
    var failure: StoreError?
    var waiters: [@Sendable () -> Void] = []
    var accounted = 0
    /// Open folders that read it.
    var pins = 0
  }

  /// What a reader is given: copies of entries, taken under the lock and used outside it.
  struct Slice {
    var items: [(name: [UInt8], seen: Seen)]
    var end: End
    enum End {
      case more, complete
      case failed(StoreError)
    }
  }

  enum Answer {
    case entry(Seen)
    case absent, undecided
  }

  let folder: ObjectKey
  /// Freshness counts from here: what came later may be newer, never older.
  let started: Instant
  private let state: Lock<State>
  private let account: ByteAccount

  init(folder: ObjectKey, started: Instant, listingHasAttributes: Bool, account: ByteAccount) {
    self.folder = folder
    self.started = started
    self.account = account
    state = Lock(
      State(
        builder: ListingBuilder(folder: folder, listingHasAttributes: listingHasAttributes)))
  }

  deinit { account.add(-state.withLock { $0.accounted }) }

  /// Adds a page; the last one completes the generation. Returns the names it hides by then.
  func add(_ page: ListPage) -> Int? {
    let (waiters, hidden) = state.withLock { state -> ([@Sendable () -> Void], Int?) in
      state.builder.add(page)
      if page.next == nil { state.builder.finish() }
      state.pages += 1
      let bytes = state.builder.entries.bytes
      account.add(bytes - state.accounted)
      state.accounted = bytes
      defer { state.waiters = [] }
      return (state.waiters, page.next == nil ? state.builder.hidden : nil)
    }
    for waiter in waiters { waiter() }
    return hidden
  }

  func fail(_ error: StoreError) {
    let waiters = state.withLock { state in
      if !state.builder.isComplete { state.failure = error }
      defer { state.waiters = [] }
      return state.waiters
    }
    for waiter in waiters { waiter() }
  }

  var hasPages: Bool { state.withLock { $0.pages > 0 || $0.failure != nil } }
  var isComplete: Bool { state.withLock { $0.builder.isComplete } }
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
    state.withLock { state in
      guard state.builder.decides(name) else { return .undecided }
      guard let index = state.builder.entries.index(of: name) else { return .absent }
      return .entry(state.builder.entries.seen(index))
    }
  }

  /// At most `limit` entries from `index` on.
  func slice(from index: Int, limit: Int) -> Slice {
    state.withLock { state in
      let entries = state.builder.entries
      let range = min(index, entries.count)..<min(index + limit, entries.count)
      let items = range.map { (Array(entries.name($0)), entries.seen($0)) }
      if !items.isEmpty { return Slice(items: items, end: .more) }
      if let failure = state.failure { return Slice(items: [], end: .failed(failure)) }
      return Slice(items: [], end: state.builder.isComplete ? .complete : .more)
    }
  }
}

/// Bytes that generations hold, those that only an open folder still keeps included.
final class ByteAccount: Sendable {
  private let held = Atomic<Int>(0)
  func add(_ bytes: Int) { held.add(bytes, ordering: .relaxed) }
  var bytes: Int { held.load(ordering: .relaxed) }
}
