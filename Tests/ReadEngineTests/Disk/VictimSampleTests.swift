import Posix
import Testing

@testable import ReadEngine

/// Which file of a sample goes first, by seeds.
@Suite struct VictimSampleTests {
  @Test func theFarthestGoesAndOfThoseTheOldestInWhateverOrderTheyAreSeen() {
    for seed in 0..<5000 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      let uses = (0..<20).map { _ in Int.random(in: 0..<30, using: &random) }
      let entries = uses.indices.map { number in
        var entry = CacheEntry(
          id: FileID(number: UInt64(number)), bytes: .random(in: 0...1, using: &random),
          lastUse: Int64.random(in: -9...30, using: &random),
          opens: Int.random(in: 0..<4, using: &random) == 0 ? 1 : 0)
        entry.isPinned = Int.random(in: 0..<6, using: &random) == 0
        entry.isDying = Int.random(in: 0..<6, using: &random) == 0
        return entry
      }
      let limit = Int.random(in: 0..<40, using: &random)
      var terms = CacheIndex.Terms(
        policy: .epoch, deadAfter: 10, nextUse: limit,
        nextUseOf: { uses[numberOf($0, among: entries)] })
      terms.usedBefore = .random(in: 0...40, using: &random)
      var sample = VictimSample(
        terms, CacheClock(now: 30, foundFromBefore: 0, files: entries.count))
      for slot in entries.indices.shuffled(using: &random) {
        sample.consider(entries[slot], at: slot)
      }
      // What is read later than what would come, and was not used since the load began.
      let later = entries.indices.filter {
        uses[$0] > limit && entries[$0].lastUse < terms.usedBefore
          && !entries[$0].isPinned && !entries[$0].isDying && entries[$0].bytes > 0
      }
      let may = later.filter { entries[$0].opens == 0 }
      let best = may.max { (uses[$0], -entries[$0].lastUse) < (uses[$1], -entries[$1].lastUse) }
      #expect((sample.worst == nil) == (best == nil), "seed \(seed)")
      #expect(sample.openCount == later.count - may.count, "seed \(seed)")
      guard let best, let worst = sample.worst else { continue }
      #expect(may.contains(worst) && entries[worst].mayGo, "seed \(seed)")
      #expect(uses[worst] == uses[best], "seed \(seed)")
      #expect(entries[worst].lastUse == entries[best].lastUse, "seed \(seed)")
    }
  }

  private func numberOf(_ id: FileID, among entries: [CacheEntry]) -> Int {
    entries.firstIndex { $0.id == id }!
  }
}
