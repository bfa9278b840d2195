import ObjectStore
import Posix
import Testing

@testable import ReadEngine

/// What the limit and the floor leave, by seeds.
@Suite struct SpaceBudgetTests {
  /// A disk of a few thousand bytes with a cache on it.
  private struct Case {
    var budget: SpaceBudget
    var use: SpaceBudget.Use
    var free: SpaceBudget.FreeSpace
    var bytes: UInt64
    /// Of `bytes`, at most all that is reserved.
    var covered: UInt64

    init(_ random: inout SeededGenerator) {
      func some() -> UInt64 { .random(in: 0...5000, using: &random) }
      budget = SpaceBudget(
        limit: Int.random(in: 0..<5, using: &random) == 0 ? .max : some(), floor: some())
      use = SpaceBudget.Use(inFiles: some(), reserved: some())
      use.spool.reserved = some()
      use.spool.unwritten = .random(in: 0...use.spool.reserved, using: &random)
      free = SpaceBudget.FreeSpace(bytes: .random(in: 0...20_000, using: &random))
      bytes = some()
      covered = .random(in: 0...min(bytes, use.reserved), using: &random)
    }

    func shortage(of bytes: UInt64) -> SpaceBudget.Shortage {
      budget.shortage(of: bytes, covered: min(covered, bytes), use, free: free)
    }

    /// Both bounds hold once so many bytes more are counted, and everything that was promised is written.
    func holds(adding bytes: UInt64) -> Bool {
      let coming = use.reserved + bytes - covered
      let counted = use.inFiles + use.spool.reserved + coming
      return (budget.limit == .max || counted <= budget.limit)
        && free.bytes >= coming + use.spool.unwritten + budget.floor
    }
  }

  @Test func whatIsShortIsExactlyWhatMustGoForBothBoundsToHold() {
    for seed in 0..<20_000 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      var state = Case(&random)
      let short = state.shortage(of: state.bytes)
      #expect((short.bytes == 0) == state.holds(adding: state.bytes), "seed \(seed)")
      // More than there is cannot be evicted.
      guard short.bytes > 0, short.bytes <= state.use.inFiles else { continue }
      state.use.inFiles -= short.bytes - 1
      state.free.bytes += short.bytes - 1
      #expect(!state.holds(adding: state.bytes), "seed \(seed): one byte less is not enough")
      state.use.inFiles -= 1
      state.free.bytes += 1
      #expect(state.holds(adding: state.bytes), "seed \(seed)")
      #expect(state.shortage(of: state.bytes) == SpaceBudget.Shortage(), "seed \(seed)")
    }
  }

  @Test func aShortageOfTheDiskIsToldFromOneOfTheCache() {
    for seed in 0..<5000 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      var state = Case(&random)
      let short = state.shortage(of: state.bytes)
      state.free.bytes = 1 << 40
      let ofCache = state.shortage(of: state.bytes)
      #expect(!ofCache.isOfDisk && short.isOfDisk == (short.bytes > ofCache.bytes), "seed \(seed)")
      let unknown = state.budget.shortage(
        of: state.bytes, covered: state.covered, state.use, free: nil)
      #expect(unknown == ofCache, "seed \(seed)")
      state.free.lacksInodes = true
      let one = state.shortage(of: state.bytes)
      #expect(one.bytes == max(1, ofCache.bytes) && !one.isOfDisk, "seed \(seed)")
    }
  }

  @Test func whatIsAvailableFitsAndOneByteMoreDoesNot() {
    for seed in 0..<20_000 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      var state = Case(&random)
      state.covered = 0
      let available = state.budget.available(state.use, free: state.free)
      if available > 0 { #expect(state.holds(adding: available), "seed \(seed)") }
      #expect(!state.holds(adding: available + 1), "seed \(seed)")
      // Who finds nothing short is within the limit when it counts.
      if state.holds(adding: state.bytes) {
        #expect(state.budget.isWithinLimit(adding: state.bytes, state.use), "seed \(seed)")
      }
      let isOver =
        state.budget.limit != .max
        && state.use.inFiles + state.use.reserved + state.use.spool.reserved + state.bytes
          > state.budget.limit
      #expect(state.budget.isWithinLimit(adding: state.bytes, state.use) == !isOver, "seed \(seed)")
    }
  }

  @Test func whatCanBeReachedIsTheLimitOrWhatTheFloorLeaves() {
    let budget = SpaceBudget(limit: 1000, floor: 50)
    #expect(budget.reachable(inFiles: 100, free: nil) == 1000)
    #expect(budget.reachable(inFiles: 100, free: .init(bytes: 5000)) == 1000)
    #expect(budget.reachable(inFiles: 100, free: .init(bytes: 350)) == 400)
    #expect(budget.reachable(inFiles: 100, free: .init(bytes: 20)) == 100)
  }

  @Test func numbersWithoutBoundsDoNotOverflow() {
    let budget = SpaceBudget(limit: .max, floor: .max)
    var use = SpaceBudget.Use(inFiles: .max, reserved: .max)
    (use.spool.reserved, use.spool.unwritten) = (.max, .max)
    let free = SpaceBudget.FreeSpace(bytes: .max)
    #expect(budget.shortage(of: .max, covered: 0, use, free: free).bytes == 0)
    #expect(budget.available(use, free: free) == 0)
    #expect(budget.isWithinLimit(adding: .max, use))
    #expect(budget.reachable(inFiles: .max, free: free) == .max)
  }
}
