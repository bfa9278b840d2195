import ObjectStore
import Posix
import Testing

@testable import FileSystem

@Suite struct NodeTableTests {
  @Test func referencesAndVersionsAgreeWithAPlainModel() {
    struct Known {
      var path: Int
      var version: Int
      var references: UInt64
    }
    for seed in 0..<2000 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      var table = NodeTable()
      var model: [NodeID: Known] = [:]
      var current: [Int: NodeID] = [:]
      var highest: NodeID = 1
      for step in 1...60 as ClosedRange<UInt64> {
        let path = Int.random(in: 0..<4, using: &random)
        let version = Int.random(in: 0..<3, using: &random)
        let seen = Seen(kind: .file, size: 1, modified: 0, etag: "v\(version)")
        let key = ObjectKey("p\(path)")
        let now = Instant(nanoseconds: step)
        switch Int.random(in: 0..<4, using: &random) {
        case 0, 1:
          let (id, _, replaced) = table.take(key, seen, at: now)
          if let old = current[path], model[old]?.version != version {
            #expect(replaced == old, "seed \(seed)")
            current[path] = nil
          } else {
            #expect(replaced == nil, "seed \(seed)")
          }
          if let known = current[path] {
            #expect(id == known, "seed \(seed)")
          } else {
            #expect(id > highest, "a number used twice, seed \(seed)")
            highest = id
            current[path] = id
            model[id] = Known(path: path, version: version, references: 0)
          }
          model[id]!.references += 1
        case 2:
          #expect(table.observe(key, nil, at: now) == current[path], "seed \(seed)")
          current[path] = nil
        default:
          guard let id = model.keys.sorted().randomElement(using: &random) else { break }
          let count = UInt64.random(in: 1...model[id]!.references, using: &random)
          table.forget(id, count: count)
          model[id]!.references -= count
          if model[id]!.references == 0 {
            if current[model[id]!.path] == id { current[model[id]!.path] = nil }
            model[id] = nil
          }
        }
        #expect(table.count == model.count, "seed \(seed)")
        for (id, known) in model {
          #expect(table[id]?.references == known.references, "seed \(seed)")
          #expect(table[id]?.isStale == (current[known.path] != id), "seed \(seed)")
        }
      }
      for (id, known) in model { table.forget(id, count: known.references) }
      #expect(table.count == 0 && table.bytes == 0, "seed \(seed)")
    }
  }

  @Test func whatIsOlderThanTheNodeChangesNothing() {
    var table = NodeTable()
    let new = Seen(kind: .file, size: 1, modified: 0, etag: "new")
    let old = Seen(kind: .file, size: 1, modified: 0, etag: "old")
    let (id, _, _) = table.take(ObjectKey("a"), new, at: Instant(nanoseconds: 5))
    let again = table.take(ObjectKey("a"), old, at: Instant(nanoseconds: 4))
    #expect(again.id == id && again.replaced == nil && again.node.seen == new)
  }
}
