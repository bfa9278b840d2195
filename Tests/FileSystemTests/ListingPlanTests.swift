import Posix
import Testing

@testable import FileSystem

/// The listing plan alone, against a plain model: a sorted list of names, cut into pages wherever a request says.
/// Responses come in any order, and the parts in their order give all names, each once.
@Suite struct ListingPlanTests {
  private struct Run {
    var random: SeededGenerator
    var plan: ListingPlan
    let names: [[UInt8]]
    let pageSize: Int
    /// The store begins at the name that a request says.
    let isHonest: Bool
    var inFlight: [ListingPlan.Fetch] = []
    /// By part: what was kept of its pages.
    var kept: [Int: [[UInt8]]] = [:]
    var requests = 0
    var mostInFlight = 0
    var begins: Bool?
    let note: Comment

    init(seed: UInt64) {
      random = SeededGenerator(seed: seed)
      note = "seed \(seed)"
      isHonest = seed % 4 != 0
      pageSize = Int.random(in: 1...30, using: &random)
      names = Self.names(&random)
      // One that is known to honour the start is trusted.
      let isTrusted = isHonest && Bool.random(using: &random)
      plan = ListingPlan(
        maySplit: Int.random(in: 0..<8, using: &random) > 0, isTrusted: isTrusted)
      send([plan.begin])
    }

    private static func names(_ random: inout SeededGenerator) -> [[UInt8]] {
      let count = Int.random(in: 0...1500, using: &random)
      let kind = Int.random(in: 0..<4, using: &random)
      let texts = (0..<count).map { number -> String in
        switch kind {
        case 0: "img_" + String("000000\(number)".suffix(6))
        case 1: String(UInt64.random(in: 0 ... .max, using: &random), radix: 16)
        case 2: "\(Int.random(in: 1...3, using: &random))/\(number)"
        default:
          String(
            (0..<Int.random(in: 1...5, using: &random)).map { _ in
              "abcXYZ019_-.".randomElement(using: &random)!
            })
        }
      }
      return Set(texts.map { Array($0.utf8) }).sorted { $0.lexicographicallyPrecedes($1) }
    }

    mutating func send(_ fetches: [ListingPlan.Fetch]) {
      requests += fetches.count
      inFlight += fetches
      mostInFlight = max(mostInFlight, inFlight.count)
    }

    /// What the store answers: a page from where the request says.
    func page(_ fetch: ListingPlan.Fetch) -> (names: [[UInt8]], page: ListingPlan.Page) {
      var start = fetch.cursor.flatMap { Int($0) } ?? 0
      if fetch.cursor == nil, let after = fetch.after, isHonest {
        start = names.firstIndex { after.lexicographicallyPrecedes($0) } ?? names.count
      }
      let end = min(names.count, start + pageSize)
      let found = Array(names[start..<end])
      return (
        found,
        ListingPlan.Page(
          first: found.first ?? [], last: found.last ?? [], count: found.count,
          next: end < names.count ? "\(end)" : nil)
      )
    }

    mutating func answerOne() {
      let fetch = inFlight.remove(at: Int.random(in: 0..<inFlight.count, using: &random))
      let (found, page) = page(fetch)
      // At times as many wait for those before them as may.
      let held = Int.random(in: 0..<6, using: &random) == 0 ? ListingPlan.heldLimit : 0
      let arrival = plan.arrived(fetch.part, page, sample: { found }, held: held)
      if let known = arrival.beginsAnywhere { begins = known }
      for part in kept.keys where part >= plan.count { kept[part] = nil }
      if arrival.isKept {
        let end = arrival.end
        kept[fetch.part, default: []] += found.filter { name in
          end.map { !$0.lexicographicallyPrecedes(name) } ?? true
        }
      }
      send(arrival.fetches)
    }

    var all: [[UInt8]] {
      kept.keys.sorted().flatMap { kept[$0]! }
    }
  }

  @Test func partsInTheirOrderAreTheWholeDirectory() {
    for seed in 0..<2000 as Range<UInt64> {
      var run = Run(seed: seed)
      let pages = run.names.count / run.pageSize + 1
      // One request a page is the least; a part too many wastes one.
      let requestsMax = 2 * pages + ListingPlan.widthLimit
      while !run.plan.isComplete, !run.inFlight.isEmpty, run.requests <= requestsMax {
        run.answerOne()
      }
      #expect(run.plan.isComplete && run.requests <= requestsMax, run.note)
      // Outside of #expect, which would describe each difference of thousands of names.
      let isWhole = run.all == run.names
      #expect(isWhole, run.note)
      #expect(run.mostInFlight <= ListingPlan.widthLimit + 1, run.note)
      #expect(run.isHonest || run.begins != true, run.note)
      #expect(!run.isHonest || run.begins != false, run.note)
    }
  }
}
