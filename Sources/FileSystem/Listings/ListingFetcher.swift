import ObjectStore
import Posix

/// The fetching of one generation: asks the store for pages as the plan says, and hands them to the
/// generation in the order of their names.
final class ListingFetcher: Sendable {
  fileprivate struct State {
    var plan: ListingPlan
    var budget: ListingBudget
    /// Pages of parts whose turn has not come, by part.
    var held: [Int: [ListPage]] = [:]
    var heldCount = 0
    /// The part whose pages are handed over as they come.
    var head = 0
    var hasEnded = false
    /// Pages are being handed over, by the thread that set it.
    var isFeeding = false
    var ready: [ListPage] = []
    /// Listed ahead of need, and paused until a caller wants more than was granted.
    var paused: [ListingPlan.Fetch] = []
    /// No caller waits for it yet.
    var isAhead: Bool
    /// The result, once the file system has taken it in.
    var outcome: Result<Int, StoreError>?
    var followers: [@Sendable (Result<Int, StoreError>) -> Void] = []
  }

  let generation: DirectoryListing
  private let store: any ObjectStore
  private let timeout: Duration
  private let events: Events
  private let state: Lock<State>

  struct Events: Sendable {
    /// Another page may be requested although no caller waits for it.
    var mayGoOn: @Sendable () -> Bool
    var learned: @Sendable (_ beginsAnywhere: Bool) -> Void
    var grew: @Sendable () -> Void
    /// The names that are hidden, or why it failed.
    var ended: @Sendable (DirectoryListing, Result<Int, StoreError>, _ wasAhead: Bool) -> Void
  }

  init(
    _ generation: DirectoryListing, store: any ObjectStore, timeout: Duration, maySplit: Bool,
    isTrusted: Bool, isAhead: Bool, budget: ListingBudget, events: Events
  ) {
    self.generation = generation
    self.store = store
    self.timeout = timeout
    self.events = events
    state = Lock(
      State(
        plan: ListingPlan(maySplit: maySplit, isTrusted: isTrusted), budget: budget,
        isAhead: isAhead))
  }

  func start() { fetch(ListingPlan.Fetch(part: 0)) }

  /// A caller waits for it now.
  func isWanted() {
    let paused = state.withLock { state in
      state.isAhead = false
      defer { state.paused = [] }
      return state.paused
    }
    for next in paused { fetch(next) }
  }

  /// No caller wants it, and it sends no request until one does.
  var isPaused: Bool { state.withLock { $0.isAhead && !$0.paused.isEmpty } }

  /// Calls `follower` when it has ended and the file system goes by it, or at once.
  func whenEnded(_ follower: @escaping @Sendable (Result<Int, StoreError>) -> Void) {
    let outcome = state.withLock { state in
      if state.outcome == nil { state.followers.append(follower) }
      return state.outcome
    }
    if let outcome { follower(outcome) }
  }

  /// Ends it: nothing more is asked.
  func cancel(_ error: StoreError) { end(.failure(error)) }

  private func fetch(_ fetch: ListingPlan.Fetch) {
    let request = ListRequest(
      folder: generation.folder, cursor: fetch.cursor,
      after: fetch.after.map { generation.folder + $0 },
      deadline: .now + timeout)
    store.list(request) { [self] result in
      switch result {
      case .success(let page) where page.next != nil && page.next == fetch.cursor:
        end(
          .failure(
            StoreError(
              .badReply, store: store.displayName, key: generation.folder,
              detail: "listing loop: the next token equals the current one")))
      case .success(let page): arrived(fetch.part, page)
      case .failure(let error) where error.kind == .notFound:
        // Gone, or never there: empty, like a prefix without keys.
        arrived(fetch.part, ListPage())
      case .failure(let error): end(.failure(error))
      }
    }
  }

  private func arrived(_ part: Int, _ page: ListPage) {
    let skip = generation.folder.bytes.count
    if let excess = state.withLock({ $0.budget.exceeded(by: page, prefix: skip) }) {
      return end(
        .failure(
          StoreError(
            .badReply, store: store.displayName, key: generation.folder, detail: excess,
            advice: "if the directory really is that large, raise --metadata-limit")))
    }
    let (summary, isUnordered) = Self.summary(of: page, skipping: skip)
    let (fetches, learned, isAhead, feeds) = state.withLock {
      state -> ([ListingPlan.Fetch], Bool?, Bool, Bool) in
      guard !state.hasEnded else { return ([], nil, false, false) }
      if part == 0, isUnordered { state.plan.stopSplitting() }
      let arrival = state.plan.arrived(
        part, summary, sample: { Self.sample(of: page, skipping: skip) }, held: state.heldCount)
      if arrival.isKept {
        state.held[part, default: []].append(Self.cut(page, behind: arrival.end, skip))
        state.heldCount += 1
      }
      state.releaseHeld()
      return (arrival.fetches, arrival.beginsAnywhere, state.isAhead, state.beginFeeding())
    }
    if let learned { events.learned(learned) }
    if isAhead && !fetches.isEmpty && !events.mayGoOn() { pause(fetches) } else { go(fetches) }
    if feeds { feed() }
  }

  private func go(_ fetches: [ListingPlan.Fetch]) {
    for next in fetches { fetch(next) }
  }

  private func pause(_ fetches: [ListingPlan.Fetch]) {
    let isWantedNow = state.withLock { state in
      if state.isAhead { state.paused += fetches }
      return !state.isAhead
    }
    if isWantedNow { go(fetches) }
  }

  private static func cut(_ page: ListPage, behind end: [UInt8]?, _ skip: Int) -> ListPage {
    guard let end else { return page }
    var page = page
    page.removeItems { key in
      end.withUnsafeBytes { NameRules.compare(below(key, skip), $0) > 0 }
    }
    return page
  }

  private enum Work {
    case pages([ListPage], isAll: Bool)
    case none
  }

  /// Hands pages over, one thread at a time and without the lock.
  private func feed() {
    while true {
      let work = state.withLock { state -> Work in
        let isAll = state.plan.isComplete && state.held.isEmpty
        if state.hasEnded || (state.ready.isEmpty && !isAll) {
          state.isFeeding = false
          return .none
        }
        defer { state.ready = [] }
        return .pages(state.ready, isAll: isAll)
      }
      guard case .pages(let pages, let isAll) = work else { return }
      for page in pages.dropLast(isAll ? 1 : 0) {
        _ = generation.add(page, isLast: false)
        events.grew()
      }
      if isAll {
        let hidden = generation.add(pages.last ?? ListPage(), isLast: true)
        return end(.success(hidden ?? 0))
      }
    }
  }

  private func end(_ result: Result<Int, StoreError>) {
    let wasAhead: Bool? = state.withLock { state in
      if state.hasEnded { return nil }
      state.hasEnded = true
      state.held = [:]
      state.ready = []
      return state.isAhead
    }
    guard let wasAhead else { return }
    events.ended(generation, result, wasAhead)
    let followers = state.withLock { state in
      state.outcome = result
      defer { state.followers = [] }
      return state.followers
    }
    for follower in followers { follower(result) }
  }

  private static func summary(
    of page: ListPage, skipping skip: Int
  ) -> (page: ListingPlan.Page, isUnordered: Bool) {
    page.withContents { contents in
      // Objects and folders are each in order, or the page is not.
      var first: UnsafeRawBufferPointer?
      var last: UnsafeRawBufferPointer?
      var previous: [UnsafeRawBufferPointer?] = [nil, nil]
      var isUnordered = false
      for item in page.items {
        let key = below(contents.key(item), skip)
        let kind = item.isFolder ? 1 : 0
        if let before = previous[kind], NameRules.compare(before, key) > 0 { isUnordered = true }
        previous[kind] = key
        if first == nil || NameRules.compare(key, first!) < 0 { first = key }
        if last == nil || NameRules.compare(key, last!) > 0 { last = key }
      }
      return (
        ListingPlan.Page(
          first: first.map(Array.init) ?? [], last: last.map(Array.init) ?? [],
          count: page.items.count, next: page.next), isUnordered
      )
    }
  }

  private static func below(_ key: UnsafeRawBufferPointer, _ skip: Int) -> UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(rebasing: key[min(skip, key.count)...])
  }

  private static func name(_ key: UnsafeRawBufferPointer, _ skip: Int) -> [UInt8] {
    Array(below(key, skip).prefix { $0 != NameRules.slash })
  }

  /// Names of a page at regular distances, the first and the last among them.
  private static func sample(of page: ListPage, skipping skip: Int) -> [[UInt8]] {
    page.withContents { contents in
      let step = max(1, page.items.count / 64)
      var names = stride(from: 0, to: page.items.count, by: step).map { index in
        name(contents.key(page.items[index]), skip)
      }
      if let item = page.items.last {
        names.append(name(contents.key(item), skip))
      }
      return names.sorted { $0.lexicographicallyPrecedes($1) }
    }
  }
}

extension ListingFetcher.State {
  /// Makes ready what comes next in the order of names.
  fileprivate mutating func releaseHeld() {
    // Parts that the plan has given up.
    for part in held.keys where part >= plan.count {
      heldCount -= held.removeValue(forKey: part)?.count ?? 0
    }
    while true {
      if let pages = held.removeValue(forKey: head) {
        ready += pages
        heldCount -= pages.count
      }
      guard head < plan.count - 1, plan.isDone(head) else { return }
      head += 1
    }
  }

  /// True: the caller is to hand pages over now.
  fileprivate mutating func beginFeeding() -> Bool {
    let hasWork = !ready.isEmpty || (plan.isComplete && held.isEmpty)
    if isFeeding || !hasWork || hasEnded { return false }
    isFeeding = true
    return true
  }
}
