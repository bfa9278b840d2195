import Posix
import Testing

@testable import ReadEngine

/// Every reader makes progress, whatever the limits are.
@Suite struct ProgressTests {
  /// What goes wrong with each seed that something goes wrong with.
  private func troubles(
    _ seeds: Range<UInt64>, protects: Bool = true
  ) throws -> [UInt64: ProgressModel.Trouble] {
    var troubles: [UInt64: ProgressModel.Trouble] = [:]
    for seed in seeds {
      let model = try ProgressModel(seed: seed, protects: protects)
      do throws(ProgressModel.Trouble) { try model.run() } catch { troubles[seed] = error }
    }
    return troubles
  }

  /// A piece of an admitted read is fetched once while it waits, so a read ends after nine fetches at most, and the
  /// next in line is admitted.
  @Test(arguments: 0..<8 as Range<UInt64>)
  func everyReadEndsAndNoPieceOfItIsFetchedTwiceMeanwhile(part: UInt64) throws {
    let found = try troubles(part * 150..<(part + 1) * 150)
    #expect(found.isEmpty, "seed: what: \(found.sorted { $0.key < $1.key }.prefix(9))")
  }

  @Test func theModelFindsReadsWhosePiecesAreNotProtected() throws {
    let found = try troubles(0..<200, protects: false)
    #expect(found.values.contains(.fetchedTwice), "\(found)")
  }

  /// Files read one after the other by a few readers, in a pool of 64 blocks: what is read ahead is read.
  @Test func ofSequencesLittleIsFetchedTwice() throws {
    var (fetched, asked) = (0, 0)
    for seed in 0..<100 as Range<UInt64> {
      let model = try ProgressModel(seed: seed, blocks: 64, readers: 2, isSequential: true)
      try model.run(prefetches: false)
      fetched += model.fetched
      asked += model.asked
    }
    #expect(Double(fetched) <= 1.2 * Double(asked), "\(fetched) of \(asked)")
  }

  /// Pure: the line of those that wait for memory.
  @Test func readsAreAdmittedInTheOrderInWhichTheyCameAndNeverPastTheBudget() {
    for seed in 0..<3000 as Range<UInt64> {
      let wrong = firstMistakeOfTheLine(seed)
      #expect(wrong == nil, "seed \(seed)")
    }
  }

  private func firstMistakeOfTheLine(_ seed: UInt64) -> String? {
    var random = SeededGenerator(seed: seed)
    let budget = Int.random(in: 1...40, using: &random)
    var admission = MemoryAdmission<UInt64>(budget: budget)
    var blocks: [UInt64: Int] = [:]
    var (line, admitted): ([UInt64], [UInt64]) = ([], [])
    for _ in 0..<60 {
      var news: [UInt64] = []
      if Bool.random(using: &random) {
        let ticket = admission.newTicket()
        blocks[ticket] = Int.random(in: 1...9, using: &random)
        line.append(ticket)
        if admission.enter(ticket, blocks: blocks[ticket]!, ticket) { news = [ticket] }
      } else if let ticket = (line + admitted).randomElement(using: &random) {
        line.removeAll { $0 == ticket }
        admitted.removeAll { $0 == ticket }
        news = admission.leave(ticket)
      }
      if news != Array(line.prefix(news.count)) { return "\(news) are not first in \(line)" }
      admitted += news
      line.removeFirst(news.count)
      let used = admitted.reduce(0) { $0 + min(blocks[$1]!, budget) }
      if admission.admittedBlocks != used {
        return "it counts \(admission.admittedBlocks), not \(used)"
      }
      if used > budget { return "\(used) of \(budget)" }
      if let first = line.first {
        if used + min(blocks[first]!, budget) <= budget { return "\(first) need not wait" }
        if admission.enter(first, blocks: 1, first) { return "\(first) passed by asking again" }
      }
      if let one = admitted.first, !admission.enter(one, blocks: 1, one) {
        return "\(one) was admitted and is not any more"
      }
    }
    return admission.waiting == line.count ? nil : "\(admission.waiting) wait, not \(line.count)"
  }

  /// Two reads of eight pieces in a pool of 16 blocks, each of which spans two fetches.
  @Test func twoReadsThatSpanTwoFetchesEndInAPoolOfSixteenBlocks() throws {
    for seed in 0..<50 as Range<UInt64> {
      let model = try ProgressModel(seed: seed, blocks: 16, readers: 2)
      try model.run()
    }
  }
}
