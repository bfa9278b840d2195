import FileSystem
import Testing

@testable import FuseFrontEnd

@Suite struct ReaddirplusPolicyTests {
  private func folder(_ number: Int) -> NodeID { NodeID(number + 100) }

  /// Walks `folders`, looking up `lookups` files in each; how many had no attributes.
  private func walk(
    _ policy: inout ReaddirplusPolicy, _ folders: Range<Int>, lookups: Int, count: Int = 200
  ) -> Int {
    folders.count { number in
      let hasAll = policy.opened(folder(number), count: count)
      #expect(policy.givesAll(of: folder(number)) == hasAll)
      // With attributes nobody has to ask.
      if !hasAll { for _ in 0..<lookups { policy.lookedUp(in: folder(number)) } }
      return !hasAll
    }
  }

  @Test func aWalkForNamesAloneGetsNamesAlone() {
    var policy = ReaddirplusPolicy()
    let first = walk(&policy, 0..<500, lookups: 0)
    #expect(first == 500)
  }

  @Test func aWalkThatAsksOfEachFileGetsAllBeforeLong() {
    var policy = ReaddirplusPolicy()
    let kept = walk(&policy, 0..<1000, lookups: 200)
    #expect(kept <= 24)
  }

  @Test func afterOneThatAskedAWalkForNamesGetsNamesAgain() {
    var policy = ReaddirplusPolicy()
    _ = walk(&policy, 0..<100, lookups: 200)
    let without = walk(&policy, 100..<400, lookups: 0)
    #expect(without > 300 - 2 * ReaddirplusPolicy.longestInterval - 8)
    let again = walk(&policy, 400..<500, lookups: 0)
    #expect(again == 100)
  }

  @Test func aFewLookupsAreNoReason() {
    var policy = ReaddirplusPolicy()
    let few = walk(&policy, 0..<100, lookups: ReaddirplusPolicy.lookupsBeforeAll - 1)
    #expect(few == 100)
    // Nor are those in folders that nobody has just read.
    for number in 0..<1000 { policy.lookedUp(in: folder(5000 + number)) }
    let others = walk(&policy, 100..<200, lookups: 0)
    #expect(others == 100)
  }

  @Test func whoReadsAndAsksInTurnGetsAllFromTheNextReplyOn() {
    var policy = ReaddirplusPolicy()
    let hasAll = policy.opened(folder(1), count: nil)
    #expect(!hasAll)
    for _ in 0..<ReaddirplusPolicy.lookupsBeforeAll { policy.lookedUp(in: folder(1)) }
    #expect(policy.givesAll(of: folder(1)))
  }

  @Test func aLargeFolderIsNotTriedWithout() {
    var policy = ReaddirplusPolicy()
    _ = walk(&policy, 0..<10, lookups: 200)
    let tried = walk(&policy, 10..<300, lookups: 200, count: ReaddirplusPolicy.sampleLimit + 1)
    #expect(tried <= 1)
  }
}
