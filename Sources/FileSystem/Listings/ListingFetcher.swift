import ObjectStore
import Posix

/// The fetching of one listing: requests pages as the plan says, and hands them to the listing in the order of their
/// names.
///
/// The shell of a `PageSequence`, which decides. Pages are handed over by one thread at a time, without the lock.
final class ListingFetcher: Sendable {
  /// What those who started it do about it.
  struct Events: Sendable {
    /// Another page may be requested although no reader has requested the listing.
    var mayGoOn: @Sendable () -> Bool
    var learned: @Sendable (_ beginsAnywhere: Bool) -> Void
    var grew: @Sendable () -> Void
    /// The number of names that are hidden, or why it failed.
    var ended: @Sendable (ListingFetcher, Result<Int, StoreError>) -> Void
  }

  /// How it may request pages.
  struct Terms: Sendable {
    /// How long the store may take to answer a request.
    var timeout: Duration
    /// In parts side by side.
    var maySplit: Bool
    /// The store is known to begin a listing at the requested position.
    var isTrusted: Bool
    var budget: ListingBudget
  }

  let listing: DirectoryListing
  private let store: any ObjectStore
  private let timeout: Duration
  private let events: Events
  private let state: Lock<State>

  private struct State {
    var pages: PageSequence
    /// The result, once those who started it have taken it in.
    var outcome: Result<Int, StoreError>?
    var followers: [@Sendable (Result<Int, StoreError>) -> Void] = []
  }

  init(_ listing: DirectoryListing, store: any ObjectStore, terms: Terms, events: Events) {
    self.listing = listing
    self.store = store
    self.events = events
    timeout = terms.timeout
    state = Lock(
      State(
        pages: PageSequence(
          plan: ListingPlan(maySplit: terms.maySplit, isTrusted: terms.isTrusted),
          budget: terms.budget, prefix: listing.directory.bytes.count)))
  }

  /// Requests the first page; not if it was cancelled before.
  func start() {
    if !state.withLock({ $0.pages.hasEnded }) { fetch(ListingPlan.Fetch(part: 0)) }
  }

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
      folder: listing.directory, cursor: fetch.cursor,
      after: fetch.after.map { listing.directory + $0 },
      deadline: .now + timeout)
    store.list(request) { [self] result in
      switch result {
      case .success(let page) where page.next != nil && page.next == fetch.cursor:
        end(
          .failure(
            StoreError(
              .badReply, store: store.displayName, key: listing.directory,
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
    let summary = PageSequence.summary(of: page, skipping: listing.directory.bytes.count)
    let arrival = state.withLock { $0.pages.arrived(part, page, summary) }
    if let excess = arrival.excess {
      return end(
        .failure(
          StoreError(
            .badReply, store: store.displayName, key: listing.directory, detail: excess,
            advice: "if the directory really is that large, raise --metadata-limit")))
    }
    if let learned = arrival.beginsAnywhere { events.learned(learned) }
    let mustWait =
      listing.isAhead && !arrival.fetches.isEmpty && (listing.isUnwanted || !events.mayGoOn())
    if mustWait {
      // The listing keeps it meanwhile: a reader may have it that its directory no longer waits for.
      listing.whenRequested { [self] in fetch(arrival.fetches) }
    } else {
      fetch(arrival.fetches)
    }
    if arrival.isToDeliver { deliver() }
    // Those who look for a name in its first page have it by now, and no reader will come.
    if mustWait && listing.isUnwanted {
      cancel(
        StoreError(.cancelled, store: store.displayName, detail: "the directory is listed anew"))
    }
  }

  private func fetch(_ fetches: [ListingPlan.Fetch]) {
    for next in fetches { fetch(next) }
  }

  /// Hands pages over until there are none.
  private func deliver() {
    while let delivery = state.withLock({ $0.pages.nextDelivery() }) {
      for page in delivery.pages.dropLast(delivery.isLast ? 1 : 0) {
        _ = listing.add(page, isLast: false)
        events.grew()
      }
      if delivery.isLast {
        let hidden = listing.add(delivery.pages.last ?? ListPage(), isLast: true)
        return end(.success(hidden ?? 0))
      }
    }
  }

  private func end(_ result: Result<Int, StoreError>) {
    guard state.withLock({ $0.pages.end() }) else { return }
    events.ended(self, result)
    let followers = state.withLock { state in
      state.outcome = result
      defer { state.followers = [] }
      return state.followers
    }
    for follower in followers { follower(result) }
  }
}
