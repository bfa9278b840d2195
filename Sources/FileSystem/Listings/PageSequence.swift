import ObjectStore

/// The pages of one listing: which requests follow one that arrived, and which pages can be handed on, in the order of
/// their names.
///
/// Pure. Pages of a part that comes later are held until those before it are there.
struct PageSequence {
  private var plan: ListingPlan
  private var budget: ListingBudget
  /// Bytes of the directory's own key, with which all keys begin.
  private let prefix: Int
  /// Pages of parts whose turn has not come, by part.
  private var held: [Int: [ListPage]] = [:]
  private var heldCount = 0
  /// The part whose pages are handed on as they come.
  private var head = 0
  private var ready: [ListPage] = []
  /// Pages are being handed on, by the caller that was told to.
  private var isDelivering = false
  private(set) var hasEnded = false

  init(plan: ListingPlan, budget: ListingBudget, prefix: Int) {
    self.plan = plan
    self.budget = budget
    self.prefix = prefix
  }

  struct Arrival: Sendable {
    /// What is wrong with the page or with the sum of all: the listing has failed, and the caller is to end it.
    var excess: String?
    var fetches: [ListingPlan.Fetch] = []
    /// The store began at the requested position; nil: nothing new.
    var beginsAnywhere: Bool?
    /// The caller is to hand pages on, until there are none.
    var isToDeliver = false
  }

  struct Delivery {
    var pages: [ListPage]
    /// Nothing follows.
    var isLast: Bool
  }

  /// `summary`: of the page, made before the lock is taken.
  mutating func arrived(_ part: Int, _ page: ListPage, _ summary: Summary) -> Arrival {
    if let excess = budget.exceeded(by: page, prefix: prefix) { return Arrival(excess: excess) }
    guard !hasEnded else { return Arrival() }
    if part == 0, summary.isUnordered { plan.stopSplitting() }
    let arrival = plan.arrived(
      part, summary.page, sample: { [prefix] in Self.sample(of: page, skipping: prefix) },
      held: heldCount)
    if arrival.isKept {
      held[part, default: []].append(Self.cut(page, behind: arrival.end, prefix))
      heldCount += 1
    }
    releaseHeld()
    return Arrival(
      fetches: arrival.fetches, beginsAnywhere: arrival.beginsAnywhere,
      isToDeliver: beginDelivery())
  }

  /// What the caller that hands pages on is to hand on next; nil: its turn is over.
  mutating func nextDelivery() -> Delivery? {
    let isAll = plan.isComplete && held.isEmpty
    if hasEnded || (ready.isEmpty && !isAll) {
      isDelivering = false
      return nil
    }
    defer { ready = [] }
    return Delivery(pages: ready, isLast: isAll)
  }

  /// Nothing more is requested or handed on. False: so it was before.
  mutating func end() -> Bool {
    if hasEnded { return false }
    hasEnded = true
    held = [:]
    ready = []
    return true
  }

  /// Makes ready what comes next in the order of names.
  private mutating func releaseHeld() {
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

  /// True: the caller is to hand pages on now.
  private mutating func beginDelivery() -> Bool {
    let hasWork = !ready.isEmpty || (plan.isComplete && held.isEmpty)
    if isDelivering || !hasWork { return false }
    isDelivering = true
    return true
  }

  // MARK: Pages

  private static func cut(_ page: ListPage, behind end: [UInt8]?, _ skip: Int) -> ListPage {
    guard let end else { return page }
    var page = page
    page.removeItems { key in
      end.withUnsafeBytes { NameRules.compare(below(key, skip), $0) > 0 }
    }
    return page
  }

  struct Summary {
    var page: ListingPlan.Page
    /// Objects, or directories, are not in the order of their keys.
    var isUnordered: Bool
  }

  /// `skip`: bytes of the directory's own key.
  static func summary(of page: ListPage, skipping skip: Int) -> Summary {
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
      return Summary(
        page: ListingPlan.Page(
          first: first.map(Array.init) ?? [], last: last.map(Array.init) ?? [],
          count: page.items.count, next: page.next), isUnordered: isUnordered)
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
