import ObjectStore
import Posix
import Testing

@testable import FileSystem

/// The directory cache alone, against a plain model: which listing is newest, until when it is valid, what is in
/// flight, what is dropped and in which order.
@Suite struct DirectoryCacheTests {
  private static let account = ByteAccount()
  private static let ttl = Duration.nanoseconds(100)

  private struct Known {
    /// The newest complete listing: what it lists, and when it began.
    var newest: (content: Int, started: Instant, id: ListingID)?
    var fetching: (content: Int, started: Instant, id: ListingID)?
    var invalidBefore = Instant(nanoseconds: 0)
    var lastUsed = Instant(nanoseconds: 0)
    var isReferred = false
    var releasing: Instant?
  }

  private struct Run {
    var random: SeededGenerator
    var cache = DirectoryCache(ttl: DirectoryCacheTests.ttl)
    var model: [ObjectKey: Known] = [:]
    /// Listings that are in flight, and those that are held after they left the cache.
    var inFlight: [DirectoryListing] = []
    var pinned: [DirectoryListing] = []
    /// Of each listing that was ever complete.
    var bytes: [ListingID: Int] = [:]
    var usedIDs: Set<ListingID> = []
    var now = Instant(nanoseconds: 1)
    let note: Comment

    init(seed: UInt64) {
      random = SeededGenerator(seed: seed)
      note = "seed \(seed)"
    }

    mutating func pick(_ limit: Int) -> Int { Int.random(in: 0..<limit, using: &random) }

    mutating func step() {
      // Each step has its own moment, so that the order of uses is known.
      now = now + .nanoseconds(1 + pick(30))
      let directory = ObjectKey("d\(pick(6))/")
      switch pick(12) {
      case 0, 1, 2: request(directory)
      case 3, 4, 5: complete()
      case 6: abandon()
      case 7:
        cache.invalidate(directory, before: now)
        model[directory, default: Known()].invalidBefore = now
        use(directory)
      case 8: model[directory]?.isReferred.toggle()
      case 9: evict()
      case 10: release(directory)
      default: restore(directory)
      }
    }

    func isValid(_ listing: (content: Int, started: Instant, id: ListingID), _ known: Known) -> Bool
    {
      now < listing.started + DirectoryCacheTests.ttl && listing.started >= known.invalidBefore
    }

    private mutating func request(_ directory: ObjectKey) {
      var known = model[directory] ?? Known()
      known.lastUsed = now
      let time = now
      let access = cache.request(directory, isOpened: true, now: now) { id, directory, isAhead in
        DirectoryListing(
          id: id, directory: directory, started: time, isAhead: isAhead,
          account: DirectoryCacheTests.account)
      }
      switch access {
      case .cached(let listing):
        #expect(known.newest?.id == listing.id && isValid(known.newest!, known), note)
      case .joined(let listing, _):
        #expect(known.newest.map { isValid($0, known) } != true, note)
        #expect(known.fetching?.id == listing.id, note)
      case .begun(let listing):
        #expect(known.newest.map { isValid($0, known) } != true && known.fetching == nil, note)
        #expect(usedIDs.insert(listing.id).inserted, "a number used twice, \(note)")
        known.fetching = (pick(3), now, listing.id)
        inFlight.append(listing)
      }
      if pick(4) == 0 {
        access.listing.pin()
        pinned.append(access.listing)
      }
      model[directory] = known
    }

    private mutating func complete() {
      guard !inFlight.isEmpty else { return }
      let listing = inFlight.remove(at: pick(inFlight.count))
      var known = model[listing.directory] ?? Known()
      guard let fetching = known.fetching, fetching.id == listing.id else {
        guard case .unwanted = cache.complete(listing) else {
          Issue.record("an abandoned listing is taken over, \(note)")
          return
        }
        return
      }
      var page = ListPage()
      for name in 0..<fetching.content {
        page.addFolder(listing.directory + Array("n\(name)/".utf8))
      }
      _ = listing.add(page, isLast: true)
      bytes[listing.id] = listing.bytes
      known.fetching = nil
      known.releasing = nil
      switch cache.complete(listing) {
      case .first: #expect(known.newest == nil, note)
      case .changed(from: let old):
        #expect(known.newest?.id == old.id && known.newest?.content != fetching.content, note)
        cache.release(old)
      case .same(as: let old):
        #expect(known.newest?.id == old.id && known.newest?.content == fetching.content, note)
        #expect(old.started == listing.started, note)
        cache.release(listing)
        known.newest?.started = listing.started
        model[listing.directory] = known
        return
      case .unwanted: Issue.record("a listing is not taken over, \(note)")
      }
      known.newest = fetching
      model[listing.directory] = known
    }

    private mutating func abandon() {
      guard !inFlight.isEmpty else { return }
      let listing = inFlight[pick(inFlight.count)]
      let isWaitedFor = model[listing.directory]?.fetching?.id == listing.id
      let isAbandoned = cache.abandon(listing)
      #expect(isAbandoned == isWaitedFor, note)
      if isWaitedFor {
        cache.release(listing)
        model[listing.directory]!.fetching = nil
      }
    }

    private mutating func evict() {
      let excess = 1 + pick(3000)
      let eviction = cache.evict(
        excess: excess, now: now,
        DirectoryCache.References(
          has: { [model] in model[$0.directory]?.isReferred ?? false },
          hasUnlisted: { _ in false }, bytes: { 4 * Int($0.id.slot) }))
      var left = excess
      var (dropped, releasing): ([ListingID], [ListingID]) = ([], [])
      for (key, known) in model.sorted(by: { $0.value.lastUsed < $1.value.lastUsed }) {
        if left <= 0 { break }
        if known.fetching != nil { continue }
        if let newest = known.newest {
          if pinned.contains(where: { $0.id == newest.id }) { continue }
          left -= bytes[newest.id]! + 4 * Int(newest.id.slot)
          if known.isReferred {
            if let asked = known.releasing, now < asked + DirectoryCache.releaseInterval {
              continue
            }
            model[key]!.releasing = now
            releasing.append(newest.id)
            continue
          }
          dropped.append(newest.id)
        }
        left -= DirectoryState.cost
        model[key] = nil
      }
      #expect(eviction.dropped.map(\.id) == dropped, note)
      #expect(eviction.releasing.map(\.id) == releasing, note)
    }

    /// The kernel refers to none of a directory's names any more, or a reader closes one.
    private mutating func release(_ directory: ObjectKey) {
      if let listing = pinned.popLast() { listing.unpin() }
      guard let known = model[directory], let newest = known.newest,
        let listing = cache[directory]?.listing
      else { return }
      model[directory]!.isReferred = false
      let isPinned = pinned.contains { $0.id == newest.id }
      let isDropped = cache.dropIfReleased(listing, hasUnlisted: false)
      #expect(isDropped == (known.releasing != nil && !isPinned), note)
      guard isDropped else { return }
      model[directory]!.newest = nil
      model[directory]!.releasing = nil
      if known.fetching == nil { model[directory] = nil }
    }

    private mutating func restore(_ directory: ObjectKey) {
      let started = Instant(nanoseconds: now.nanoseconds - UInt64(pick(Int(now.nanoseconds))))
      let known = model[directory] ?? Known()
      var made: DirectoryListing?
      let isTaken = cache.restore(directory, started: started, now: now) { id in
        let listing = DirectoryListing(
          id: id, directory: directory, started: started, entries: DirentTable(), hidden: 0,
          account: DirectoryCacheTests.account)
        made = listing
        return listing
      }
      let isValid = now < started + DirectoryCacheTests.ttl && started >= known.invalidBefore
      #expect(isTaken == (known.newest == nil && known.fetching == nil && isValid), note)
      #expect(isTaken == (made != nil), note)
      guard let made else { return }
      #expect(usedIDs.insert(made.id).inserted, "a number used twice, \(note)")
      bytes[made.id] = made.bytes
      model[directory, default: Known()].newest = (0, started, made.id)
      model[directory]!.lastUsed = now
    }

    private mutating func use(_ directory: ObjectKey) {
      cache.use(directory, now: now)
      model[directory]!.lastUsed = now
    }

    func check() {
      #expect(cache.count == model.count, note)
      #expect(cache.listedCount == model.values.count { $0.newest != nil }, note)
      for (directory, known) in model {
        let state = cache[directory]
        #expect(state?.listing?.id == known.newest?.id, note)
        #expect(state?.fetching?.id == known.fetching?.id, note)
        let fresh = cache.freshListing(of: directory, now: now)
        let isFresh = known.newest.map { isValid($0, known) } ?? false
        #expect((fresh != nil) == isFresh, note)
        for listing in [state?.listing, state?.fetching] {
          guard let listing else { continue }
          #expect(cache[listing.id] === listing, note)
        }
      }
    }
  }

  @Test func listingsAgreeWithAPlainModel() {
    for seed in 0..<1000 as Range<UInt64> {
      var run = Run(seed: seed)
      for _ in 0..<120 {
        run.step()
        run.check()
      }
      for listing in run.pinned { listing.unpin() }
    }
  }

  @Test func repeatedLookupsMakeAListing() {
    var cache = DirectoryCache(ttl: .seconds(60))
    let start = Instant(nanoseconds: 1)
    let answers = (0..<4).map { _ in cache.countLookup(in: .root, now: start) }
    #expect(answers == [false, false, true, true])
    // Lookups of another time do not count.
    let isListed = cache.countLookup(in: .root, now: start + .seconds(61))
    #expect(!isListed)
  }
}
