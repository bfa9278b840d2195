import ReadEngine
import Testing

@testable import MillraceBench

/// The simulator of eviction: traces are what they say, and nothing beats the best that can be.
struct EvictionBenchTests {
  @Test func theBestCacheIsExact() {
    // A room for one of two: of 0 1 0 1 0 1 half of what comes again is found.
    let two = Trace(sizes: [10, 10], epochs: [[0, 1], [0, 1], [0, 1]], bytes: 20)
    #expect(BestReplay(two, capacity: 10).run() == [0, 0.5, 0.5])
    // Half a file is half a hit.
    #expect(BestReplay(two, capacity: 5).run() == [0, 0.25, 0.25])
    #expect(BestReplay(two, capacity: 20).run() == [0, 1, 1])
    // Belady's own example, by a cache that may also keep nothing of what it reads.
    let opens = [1, 2, 3, 4, 1, 2, 5, 1, 2, 3, 4, 5]
    let example = Trace(
      sizes: [UInt64](repeating: 1, count: 6), epochs: [opens], bytes: 5)
    #expect(BestReplay(example, capacity: 3).run() == [Double(5) / 12])
  }

  @Test func noPolicyFindsMoreThanTheBest() {
    for kind in Trace.Kind.allCases {
      let trace = Trace(kind, files: 400, seed: 5)
      let best = Contestant.best.run(trace, share: 40, seed: 5).reduce(0, +)
      for contestant in Contestant.allCases {
        let found = contestant.run(trace, share: 40, seed: 5).reduce(0, +)
        #expect(found <= best + 0.1, "\(kind), \(contestant)")
      }
    }
  }

  @Test func aShuffledEpochFindsItsShareWithOrWithoutItsOrder() {
    let trace = Trace(.shuffled, files: 1000, seed: 6)
    for contestant in [Contestant.epoch, .thisEpoch, .nextToo] {
      let found = contestant.run(trace, share: 50, seed: 6)
      #expect(found[2...].allSatisfy { $0 >= 0.47 }, "\(contestant): \(found)")
    }
  }

  @Test func aTraceIsTheSameForTheSameSeed() {
    for kind in Trace.Kind.allCases {
      let (one, other) = (Trace(kind, files: 50, seed: 1), Trace(kind, files: 50, seed: 1))
      #expect(one.epochs == other.epochs && one.sizes == other.sizes)
      #expect(one.epochs.joined().allSatisfy(one.sizes.indices.contains))
    }
  }

  @Test func theTableHasALineForEachCacheAndPolicy() {
    var report = EvictionReport(seeds: 3)
    report.rows.append(
      EvictionReport.Row(
        kind: .shuffled, share: 50, policy: "epoch", files: 2000, found: [0, 0.5]))
    #expect(report.markdown.contains("| cache | policy | 1 | 2 |"))
    #expect(report.markdown.contains("| 50 % | epoch | 0.00 | 0.50 |"))
    #expect(report.json.contains("\"found\": [0.0, 0.5]"))
  }
}
