import ObjectStore
import Posix
import Testing

@testable import FileSystem

/// The pages of one listing alone, against a plain model: the names of a directory as the store has them. Responses
/// come in any order and while pages are handed on. What is handed on are all names in their order, each once, and one
/// caller at a time does it.
@Suite struct PageSequenceTests {
  private struct Run {
    private static let directory = ObjectKey("dir/")

    var random: SeededGenerator
    var pages: PageSequence
    /// Below the directory, in the order of the store.
    let names: [[UInt8]]
    private let pageSize: Int
    /// The store begins at the name that a request says.
    private let isHonest: Bool
    var inFlight = [ListingPlan.Fetch(part: 0)]
    /// Names handed on so far.
    var delivered = 0
    /// A caller was told to hand pages on, and is not through.
    var isDelivering = false
    var hasEnded = false
    let note: Comment

    init(seed: UInt64) {
      random = SeededGenerator(seed: seed)
      note = "seed \(seed)"
      pageSize = Int.random(in: 2...30, using: &random)
      // A store whose keys are in no order cannot begin at a name either.
      let isOrdered = seed % 5 != 0
      isHonest = isOrdered && seed % 4 != 0
      names = Self.names(isOrdered: isOrdered, &random)
      pages = PageSequence(
        plan: ListingPlan(maySplit: true, isTrusted: isHonest && Bool.random(using: &random)),
        budget: ListingBudget(), prefix: Self.directory.bytes.count)
    }

    private static func names(
      isOrdered: Bool, _ random: inout SeededGenerator
    ) -> [[UInt8]] {
      let count = Int.random(in: 0...1500, using: &random)
      let texts = (0..<count).map { number in
        // Files, and directories among them where the order is that of the keys.
        "f" + String("000000\(number)".suffix(6)) + (isOrdered && number % 4 == 0 ? "/" : "")
      }
      var names = texts.map { Array($0.utf8) }
      if !isOrdered, count > 1 { names.swapAt(0, 1) }
      return names
    }

    /// What the store answers: a page from where the request says.
    private func page(_ fetch: ListingPlan.Fetch) -> ListPage {
      var start = fetch.cursor.flatMap { Int($0) } ?? 0
      if fetch.cursor == nil, let after = fetch.after, isHonest {
        start = names.firstIndex { after.lexicographicallyPrecedes($0) } ?? names.count
      }
      let end = min(names.count, start + pageSize)
      var page = ListPage(next: end < names.count ? "\(end)" : nil)
      for name in names[start..<end] {
        let key = Self.directory + name
        if name.last == NameRules.slash {
          page.addFolder(key)
        } else {
          page.add(ObjectAttributes(key: key, size: 1, modified: 0, etag: "e"))
        }
      }
      return page
    }

    mutating func answerOne() {
      let fetch = inFlight.remove(at: Int.random(in: 0..<inFlight.count, using: &random))
      let page = page(fetch)
      let summary = PageSequence.summary(of: page, skipping: Self.directory.bytes.count)
      let arrival = pages.arrived(fetch.part, page, summary)
      #expect(arrival.excess == nil, note)
      if hasEnded {
        #expect(arrival.fetches.isEmpty && !arrival.isToDeliver, "goes on after its end, \(note)")
      }
      if arrival.isToDeliver {
        #expect(!isDelivering, "two callers hand pages on, \(note)")
        isDelivering = true
      }
      inFlight += arrival.fetches
    }

    /// One turn of the caller that hands pages on.
    mutating func deliver() {
      guard let delivery = pages.nextDelivery() else {
        isDelivering = false
        return
      }
      #expect(!hasEnded, "goes on after its end, \(note)")
      for page in delivery.pages {
        let found = page.withContents { contents in
          page.items.map { Array(contents.key($0).dropFirst(Self.directory.bytes.count)) }
        }
        let isNext = names[delivered...].starts(with: found)
        #expect(isNext, "not what comes next, \(note)")
        delivered = min(names.count, delivered + found.count)
      }
      guard delivery.isLast else { return }
      #expect(delivered == names.count, "names are missing, \(note)")
      isDelivering = false
      end()
    }

    mutating func end() {
      let isFirst = pages.end()
      #expect(isFirst == !hasEnded, note)
      hasEnded = true
    }
  }

  @Test func pagesAreHandedOnInTheirOrderByOneCallerAtATime() {
    for seed in 0..<500 as Range<UInt64> {
      var run = Run(seed: seed)
      // Some are ended from outside.
      let stopped = seed % 7 == 0 ? Int.random(in: 0..<100, using: &run.random) : .max
      // One page may be one name where a part begins; more than that is a request without end.
      let stepsMax = 4 * (run.names.count + ListingPlan.widthLimit)
      var step = 0
      while !run.inFlight.isEmpty || run.isDelivering, step < stepsMax {
        if step == stopped { run.end() }
        let isDelivery = run.inFlight.isEmpty || Bool.random(using: &run.random)
        if run.isDelivering && isDelivery {
          run.deliver()
        } else {
          if !run.inFlight.isEmpty { run.answerOne() }
        }
        step += 1
      }
      #expect(step < stepsMax, run.note)
      #expect(run.hasEnded, "nothing is in flight and it has not ended, \(run.note)")
    }
  }

  @Test func moreThanTheBudgetIsSaidOfThePage() {
    var pages = PageSequence(
      plan: ListingPlan(maySplit: false, isTrusted: false), budget: ListingBudget(bytesMax: 100),
      prefix: 0)
    var page = ListPage(next: "next")
    for name in 0..<10 {
      page.add(ObjectAttributes(key: ObjectKey("n\(name)"), size: 1, modified: 0, etag: "e"))
    }
    let arrival = pages.arrived(0, page, PageSequence.summary(of: page, skipping: 0))
    #expect(arrival.excess != nil && arrival.fetches.isEmpty && !arrival.isToDeliver)
  }
}
