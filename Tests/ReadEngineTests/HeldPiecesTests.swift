import Posix
import Testing

@testable import ReadEngine

/// Which pieces in memory go first, without memory: a piece is a number here.
@Suite struct HeldPiecesTests {
  /// Makes room for `count`; returns what went, in that order.
  private func evict(
    _ count: Int, of held: inout HeldPieces<Int>, for cause: HeldCause = .reader,
    seed: UInt64 = 1, _ look: (Int) -> HeldLook
  ) -> [Int] {
    var random = SeededGenerator(seed: seed)
    var gone: [Int] = []
    _ = held.evict(count, for: cause, using: &random, look: look) { piece in
      gone.append(piece)
      return true
    }
    return gone
  }

  private func held(_ count: Int, _ policy: EvictionPolicy = .epoch) -> HeldPieces<Int> {
    var held = HeldPieces<Int>(policy)
    for piece in 0..<count { held.add(piece) }
    return held
  }

  @Test func theNewestThatWasReadGoesFirst() {
    var held = held(10)
    #expect(evict(3, of: &held) { _ in .read } == [9, 8, 7])
    held.add(10)
    #expect(evict(2, of: &held) { _ in .read } == [10, 6])
  }

  @Test func whatWasNotReadYetGoesLastAndOnlyForAReader() {
    var held = held(10)
    let isAhead: (Int) -> HeldLook = { $0 >= 6 ? .wanted(nextUse: nil) : .read }
    #expect(evict(2, of: &held, isAhead) == [5, 4])
    #expect(evict(9, of: &held, for: .ahead(nextUse: nil), isAhead) == [3, 2, 1, 0])
    #expect(held.count == 4)
    // Once it is read, it goes before what was there before.
    held.add(0)
    #expect(evict(1, of: &held) { $0 == 7 || $0 == 0 ? .read : .wanted(nextUse: nil) } == [7])
    #expect(Set(evict(9, of: &held, isAhead)) == [0, 6, 8, 9])
    #expect(held.count == 0)
  }

  @Test func whatNoLongerComesBackGoesBeforeAll() {
    var held = held(100)
    let gone = evict(50, of: &held) { $0 < 50 ? .dead : .read }
    // Two looks for each: by and by all of it.
    #expect(gone.count { $0 < 50 } >= 25, "\(gone)")
    let rest = evict(20, of: &held) { $0 < 50 ? .dead : .read }
    #expect((gone + rest).count { $0 < 50 } >= 40, "\(gone) \(rest)")
  }

  @Test func whereItIsKnownTheFarthestOfASampleGoes() {
    for seed in 0..<20 as Range<UInt64> {
      var held = held(200)
      let gone = evict(20, of: &held, seed: seed) { .wanted(nextUse: $0) }
      #expect(gone.count == 20)
      #expect(gone.allSatisfy { $0 >= 100 }, "seed \(seed): \(gone)")
      // Nothing goes for what is read later.
      let none = evict(20, of: &held, for: .ahead(nextUse: 200), seed: seed) {
        .wanted(nextUse: $0)
      }
      #expect(none.isEmpty, "seed \(seed)")
    }
  }

  /// Whatever looks say, a reader gets what it asks for as long as there is something, at few looks a piece.
  @Test func aReaderAlwaysFindsRoomAtFewLooks() {
    for seed in 0..<200 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      var held = HeldPieces<Int>(.epoch)
      var (added, freed, looks) = (0, 0, 0)
      for _ in 0..<300 {
        for _ in 0..<Int.random(in: 0...8, using: &random) {
          held.add(added)
          added += 1
        }
        let count = Int.random(in: 0...4, using: &random)
        let there = held.count
        var answers = SeededGenerator(seed: seed &+ UInt64(added))
        let got = held.evict(
          count, for: .reader, using: &random,
          look: { _ in
            looks += 1
            switch Int.random(in: 0..<4, using: &answers) {
            case 0: return .dead
            case 1: return .read
            case 2: return .wanted(nextUse: nil)
            default: return .wanted(nextUse: Int.random(in: 0..<9, using: &answers))
            }
          }, take: { _ in true })
        #expect(got == min(count, there), "seed \(seed)")
        freed += got
      }
      #expect(looks <= 28 * freed + 2 * added, "seed \(seed): \(looks) looks for \(freed)")
    }
  }

  @Test func theLeastRecentlyUsedGoesBySecondChance() {
    var held = held(6, .lru)
    var chances = Set([0, 1, 3])
    let gone = evict(4, of: &held) {
      chances.remove($0) == nil ? .read : .wanted(nextUse: nil)
    }
    #expect(gone == [2, 4, 5, 0])
  }
}
