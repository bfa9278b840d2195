import Metrics
import Posix
import Testing

@testable import ReadEngine

/// What is learnt of a line, and what a sequence is given on it.
struct LinkTests {
  /// One transfer over a line of `wait` seconds and `rate` bytes a second, shared by `others`.
  private func sample(wait: Double, rate: Double, bytes: Int = 8 << 20) -> LinkEstimate.Sample {
    LinkEstimate.Sample(
      firstByte: .nanoseconds(Int64(wait * 1e9)), bytes: bytes,
      transfer: .nanoseconds(Int64(Double(bytes) / rate * 1e9)))
  }

  private func advice(wait: Double, rate: Double, spread: Double = 0.3, seed: UInt64)
    -> LinkEstimate.Advice
  {
    var random = SeededGenerator(seed: seed)
    var estimate = LinkEstimate(maxConnections: 64, usualRange: 8 << 20, maxRange: 32 << 20)
    for _ in 0..<200 {
      let factor = Double.random(in: (1 - spread)...(1 + spread), using: &random)
      estimate.note(sample(wait: wait * factor, rate: rate))
    }
    return estimate.advice
  }

  @Test func theLinesOfTheBenchGetWhatTheyNeed() {
    for seed in 0..<1000 as Range<UInt64> {
      let loopback = advice(wait: 0.0005, rate: 900e6, seed: seed)
      #expect(loopback.range == 4 << 20 && loopback.connections == 4, "seed \(seed)")
      let s3 = advice(wait: 0.020, rate: 90e6, seed: seed)
      #expect(s3.range == 16 << 20 && s3.connections == 16, "seed \(seed)")
      let far = advice(wait: 0.120, rate: 25e6, seed: seed)
      #expect(far.range == 32 << 20 && far.connections == 32, "seed \(seed)")
    }
  }

  @Test func aSharedBottleneckIsNotAnsweredWithMoreConnections() {
    var estimate = LinkEstimate(maxConnections: 64, usualRange: 8 << 20, maxRange: 32 << 20)
    estimate.note(sample(wait: 0.001, rate: 900e6))
    for _ in 0..<50 { estimate.note(sample(wait: 0.002, rate: 225e6)) }
    #expect(estimate.advice.connections == 4)
  }

  @Test func aLineThatGetsSlowerIsNoticed() {
    var estimate = LinkEstimate(maxConnections: 64, usualRange: 8 << 20, maxRange: 32 << 20)
    for _ in 0..<20 { estimate.note(sample(wait: 0.001, rate: 900e6)) }
    for _ in 0..<3000 { estimate.note(sample(wait: 0.1, rate: 20e6)) }
    #expect(estimate.advice.connections == 32)
    #expect(estimate.advice.range == 32 << 20)
  }

  @Test func adviceStaysInItsBoundsWhateverIsMeasured() {
    for seed in 0..<2000 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      let maxConnections = Int.random(in: 1...64, using: &random)
      let maxRange = Int.random(in: 1...32, using: &random) << 20
      var estimate = LinkEstimate(
        maxConnections: maxConnections, usualRange: maxRange / 2, maxRange: maxRange)
      for _ in 0..<50 {
        let wait = Double.random(in: 0...10, using: &random)
        let bytes = Int.random(in: 1...(16 << 20), using: &random)
        estimate.note(sample(wait: wait, rate: .random(in: 1...1e10, using: &random), bytes: bytes))
        let advice = estimate.advice
        #expect(advice.range % Geometry.pieceSize == 0 && advice.range > 0, "seed \(seed)")
        #expect(advice.range <= max(maxRange, Geometry.pieceSize), "seed \(seed)")
        #expect((2...32).contains(advice.connections), "seed \(seed)")
      }
    }
  }

  @Test func aRecordReadAtRandomThroughAMappingIsNoSequence() {
    for seed in 0..<1000 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      var tracker = StreamTracker()
      let size: UInt64 = 5 << 30
      for _ in 0..<20 {
        // 128 KiB anywhere, as page faults.
        var page = UInt64.random(in: 0..<size / 4096 - 40, using: &random) * 4096
        for _ in 0..<33 {
          #expect(tracker.note(page..<page + 4096, size: size, maxWindow: 1 << 30).ahead == 0)
          page += 4096
        }
      }
    }
  }

  @Test func whatIsReadAheadStaysInProportionToWhatWasRead() {
    for seed in 0..<1000 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      var tracker = StreamTracker()
      let size: UInt64 = 5 << 30
      let start = Bool.random(using: &random) ? 0 : UInt64.random(in: 1..<(1 << 30), using: &random)
      var position = start
      for _ in 0..<40 {
        let count = UInt64.random(in: 4096...(1 << 20), using: &random)
        let ahead = tracker.note(position..<position + count, size: size, maxWindow: 1 << 30).ahead
        position += count
        #expect(ahead <= (position - start) * (start == 0 ? 8 : 1), "seed \(seed)")
        // A column or an array, which may end anywhere: an eighth, with what the kernel reads ahead.
        if start > 0, position - start <= 64 << 20 {
          #expect(ahead + count <= max(count, (position - start) / 8), "seed \(seed)")
        }
      }
    }
  }

  @Test func aSequenceIsReadAheadAsFarAsItsLikeCame() {
    for seed in 0..<200 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      var tracker = StreamTracker()
      let count: UInt64 = 128 << 10
      let length = UInt64.random(in: 8...256, using: &random) * count
      for column in 1...12 as ClosedRange<UInt64> {
        let start = column << 30
        for position in stride(from: start, to: start + length, by: Int(count)) {
          let end = position + count
          let ahead = tracker.note(position..<end, size: 1 << 40, maxWindow: 1 << 30).ahead
          #expect(column == 1 || end + ahead <= start + length, "seed \(seed)")
          let isKnown = column > 1 && (end - start) * 9 >= length && end - start >= 384 << 10
          if isKnown { #expect(end + ahead == start + length, "seed \(seed)") }
        }
      }
    }
  }

  @Test func whoLookedAtTheTailReadsAColumnFromTheStart() {
    var tracker = StreamTracker()
    let size: UInt64 = 1 << 30
    _ = tracker.note(size - 65536..<size, size: size, maxWindow: 1 << 28)
    for index in 0..<64 as Range<UInt64> {
      let end = (index + 1) << 20
      let ahead = tracker.note(index << 20..<end, size: size, maxWindow: 1 << 28, pipe: 1 << 26)
        .ahead
      #expect(ahead <= end / 8)
    }
  }

  @Test func oneReadOfAHeadIsReadAheadByNoMoreThanItself() {
    var tracker = StreamTracker()
    let outlook = tracker.note(0..<1 << 20, size: 1 << 30, maxWindow: 1 << 28, pipe: 1 << 26)
    #expect(outlook.ahead == 1 << 20)
    #expect(
      tracker.note(1 << 20..<2 << 20, size: 1 << 30, maxWindow: 1 << 28, pipe: 1 << 26).ahead
        == 1 << 26)
  }
}

/// Blocks that are promised are there when they are taken.
struct BlockPoolTests {
  @Test func promisesAreKeptAndNothingIsHandedOutTwice() throws {
    for seed in 0..<500 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      let pool = try BlockPool(bytes: 32 * Geometry.pieceSize, gauge: Gauge())
      var promised = 0
      var taken: Set<BlockPool.Block> = []
      for _ in 0..<300 {
        switch Int.random(in: 0..<5, using: &random) {
        case 0:
          let count = Int.random(in: 1...12, using: &random)
          let spare = Int.random(in: 0...8, using: &random)
          let fits = promised + taken.count + count + spare <= 32
          #expect(pool.promise(count, sparing: spare) == fits, "seed \(seed)")
          if fits { promised += count }
        case 1 where promised > 0:
          #expect(taken.insert(pool.take()).inserted, "seed \(seed)")
          promised -= 1
        case 2 where promised > 0:
          pool.takeBack(promised: 1)
          promised -= 1
        case 3:
          if let block = taken.popFirst() { #expect(pool.release(block), "seed \(seed)") }
        default: pool.trim(keeping: Int.random(in: 0...16, using: &random) * Geometry.pieceSize)
        }
        #expect(pool.available == 32 - promised - taken.count, "seed \(seed)")
      }
    }
  }
}
