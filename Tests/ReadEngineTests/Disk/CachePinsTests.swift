import Posix
import Testing

@testable import ReadEngine

/// Pins against a plain list of them, by seeds.
@Suite struct CachePinsTests {
  @Test func pinsFollowAPlainListOfThem() {
    for seed in 0..<2000 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      var pins = CachePins()
      var list: [(id: FileID, key: UInt64)] = []
      for _ in 0..<100 {
        let id = FileID(number: .random(in: 0..<8, using: &random))
        let key = UInt64.random(in: 0..<5, using: &random)
        let isPinned = Bool.random(using: &random)
        let before = Set(list.map(\.id))
        // Of an unknown key there may be many, and each is named by itself alone.
        let sameKey = list.filter { $0.key == key && key != PinList.unknownKey }.map(\.id)
        let wasPinned = before.contains(id) || !isPinned && !sameKey.isEmpty
        list.removeAll { $0.id == id || sameKey.contains($0.id) }
        if isPinned { list.append((id, key)) }
        let (isChange, displaced) = pins.pin(id, ofKey: key, isPinned)
        #expect(isChange == (wasPinned != isPinned), "seed \(seed)")
        let expected = Dictionary(uniqueKeysWithValues: list.map { ($0.id, $0.key) })
        #expect(pins.all == expected, "seed \(seed)")
        // Whoever is pinned or not any more is named.
        let changed = before.symmetricDifference(list.map(\.id))
        #expect(changed.isSubset(of: [id, displaced ?? id]), "seed \(seed)")
      }
    }
  }
}
