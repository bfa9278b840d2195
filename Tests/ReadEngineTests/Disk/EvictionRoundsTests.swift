import Posix
import Testing

@testable import ReadEngine

/// The rounds of making space, driven against a disk that others use as well, by seeds.
@Suite struct EvictionRoundsTests {
  private struct World {
    var short: UInt64
    /// Bytes of files that may go, and of such as may once idle files are closed.
    var closed: UInt64
    var idle: UInt64
    var isWorthMore: Bool
    /// Bytes that others may still take, in all.
    var rivals: UInt64
    var mayAsk: Bool
    var random: SeededGenerator
    var (measures, evictions, asks, claims) = (0, 0, 0, 0)
    var lastMeasured: UInt64?

    init(seed: UInt64, hasRivals: Bool) {
      random = SeededGenerator(seed: seed)
      short = .random(in: 0...100, using: &random)
      closed = .random(in: 0...150, using: &random)
      idle = .random(in: 0...150, using: &random)
      isWorthMore = Int.random(in: 0..<5, using: &random) == 0
      rivals = hasRivals ? .random(in: 0...200, using: &random) : 0
      mayAsk = Int.random(in: 0..<4, using: &random) > 0
    }

    /// Another user of the disk was faster.
    mutating func compete() -> Bool {
      guard rivals > 0, Bool.random(using: &random) else { return false }
      let taken = UInt64.random(in: 1...rivals, using: &random)
      rivals -= taken
      short += taken
      return true
    }

    mutating func perform(
      _ step: EvictionRounds.Step, _ rounds: inout EvictionRounds
    ) -> EvictionRounds.Step? {
      switch step {
      case .measure:
        measures += 1
        _ = compete()
        lastMeasured = short
        return rounds.measured(SpaceBudget.Shortage(bytes: short))
      case .claim:
        claims += 1
        return rounds.claimed(!compete() && short == 0)
      case .evict(let shortage):
        evictions += 1
        return rounds.evicted(evict(shortage.bytes))
      case .askForIdleFiles:
        asks += 1
        guard mayAsk else { return rounds.askedForIdleFiles(false) }
        (closed, idle) = (closed + idle, 0)
        return rounds.askedForIdleFiles(true)
      case .end: return nil
      }
    }

    private mutating func evict(_ bytes: UInt64) -> CacheIndex.Choice {
      if isWorthMore { return .keeps }
      guard closed > 0 else { return .inUse }
      let freed = min(bytes, closed)
      closed -= freed
      short -= min(short, freed)
      return .victims([.init(id: FileID(number: freed), bytes: freed)])
    }
  }

  /// Ends with what came of it; nil: it does not end.
  private func run(_ world: inout World, seed: UInt64) -> EvictionRounds.Outcome? {
    var rounds = EvictionRounds()
    var step = EvictionRounds.Step.measure
    for _ in 0..<30 {
      if case .claim = step { #expect(world.lastMeasured == 0, "seed \(seed)") }
      if case .evict(let shortage) = step {
        #expect(shortage.bytes > 0 && shortage.bytes == world.lastMeasured, "seed \(seed)")
      }
      if case .end(let outcome) = step { return outcome }
      step = world.perform(step, &rounds)!
    }
    return nil
  }

  @Test func roundsEndAndAskForIdleFilesOnceAtMost() {
    for seed in 0..<20_000 as Range<UInt64> {
      var world = World(seed: seed, hasRivals: true)
      let outcome = run(&world, seed: seed)
      #expect(outcome != nil, "seed \(seed): no end")
      #expect(world.measures <= 5 && world.evictions <= 4 && world.asks <= 1, "seed \(seed)")
      if world.isWorthMore { #expect(outcome != .inUse || world.evictions == 0, "seed \(seed)") }
      if outcome == .keeps { #expect(world.isWorthMore && world.evictions == 1, "seed \(seed)") }
      if outcome == .made { #expect(world.claims > 0 && world.short == 0, "seed \(seed)") }
    }
  }

  @Test func withoutOthersSpaceIsMadeWheneverThereIsEnough() {
    for seed in 0..<20_000 as Range<UInt64> {
      var world = World(seed: seed, hasRivals: false)
      let before = world
      let outcome = run(&world, seed: seed)
      let most = before.closed + (before.mayAsk ? before.idle : 0)
      let expected: EvictionRounds.Outcome =
        before.short == 0
        ? .made
        : before.isWorthMore
          ? .keeps
          : before.short <= most ? .made : .inUse
      #expect(outcome == expected, "seed \(seed)")
      // Files that are open for later use stay open where closed ones do.
      if before.short <= before.closed { #expect(world.asks == 0, "seed \(seed)") }
    }
  }
}
