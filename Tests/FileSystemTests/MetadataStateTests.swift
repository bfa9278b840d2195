import ObjectStore
import Posix
import Testing

@testable import FileSystem

/// Nodes against a plain model: lookups, absences, listings complete, failed and read while they come,
/// and references given back, in random order.
@Suite struct MetadataStateTests {
  private struct Known {
    var path: Int
    var version: Int
    var references: UInt64
  }

  private struct Model {
    var nodes: [NodeID: Known] = [:]
    var current: [Int: NodeID] = [:]
    var used: Set<NodeID> = []

    /// What one lookup must lead to; returns the node that it makes stale.
    mutating func take(_ path: Int, _ version: Int, _ id: NodeID, _ note: Comment) -> NodeID? {
      var replaced: NodeID?
      if let old = current[path], nodes[old]!.version != version {
        replaced = old
        current[path] = nil
      }
      if let known = current[path] {
        #expect(id == known, note)
      } else {
        #expect(used.insert(id).inserted, "a number used twice, \(note)")
        current[path] = id
        nodes[id] = Known(path: path, version: version, references: 0)
      }
      nodes[id]!.references += 1
      return replaced
    }
  }

  private static let account = ByteAccount()

  private func name(_ path: Int) -> [UInt8] { Array("p\(path)".utf8) }
  private func seen(_ version: Int) -> Observation {
    Observation(kind: .file, size: 1, modified: 0, etag: "v\(version)")
  }

  private func listing(_ versions: [Int: Int], at now: Instant) -> DirectoryListing {
    let generation = DirectoryListing(
      folder: .root, started: now, listingHasAttributes: true, account: Self.account)
    let objects = versions.sorted { $0.key < $1.key }.map { path, version in
      ObjectAttributes(
        key: ObjectKey(bytes: name(path)), size: 1, modified: 0, etag: "v\(version)")
    }
    _ = generation.add(ListPage(objects: objects, folders: [], next: nil), isLast: true)
    return generation
  }

  @Test func aSlotsNumbersAreNotUsedTwiceAndEndBeforeThoseOfTheControlFolder() {
    var nodes = InodeTable(serialLimit: 3)
    var used: Set<NodeID> = []
    for _ in 0..<100 {
      let node = InodeTable.Loose(folder: .root, name: name(1), seen: seen(1), checked: .now)
      let slot = nodes.add(node)
      let id = nodes.id(of: slot)
      #expect(used.insert(id).inserted)
      _ = nodes.forget(id, count: 1)
    }
    #expect(used.allSatisfy { $0 >> 32 <= 3 })
    #expect(UInt64(InodeTable.serialLimit) << 32 | UInt64(UInt32.max) < 1 << 62)
  }

  @Test func nodesAgreeWithAPlainModel() {
    for seed in 0..<3000 as Range<UInt64> {
      let note: Comment = "seed \(seed)"
      var random = SeededGenerator(seed: seed)
      var state = MetadataState()
      var model = Model()
      for step in 1...80 as ClosedRange<UInt64> {
        let path = Int.random(in: 0..<5, using: &random)
        let version = Int.random(in: 0..<3, using: &random)
        let now = Instant(nanoseconds: step)
        switch Int.random(in: 0..<8, using: &random) {
        case 0, 1:
          let finding = LookupResult(what: .asked(seen(version)), at: now)
          let (slot, replaced) = state.take(.root, name(path), finding)!
          #expect(
            replaced == model.take(path, version, state.nodes.id(of: slot), note), note)
        case 2:
          let gone = state.observeAbsence(.root, name(path), at: now)
          #expect(gone == model.current[path], note)
          model.current[path] = nil
        case 3, 4: list(&state, &model, now, &random, note)
        case 5:
          guard let generation = state.folders[.root]?.listing, generation.count > 0 else { break }
          let index = Int.random(in: 0..<generation.count, using: &random)
          let place = generation[index]
          let path = Int(String(decoding: place.name.dropFirst(), as: UTF8.self))!
          // What was seen since the listing is not taken back.
          if let known = model.current[path], model.nodes[known]!.version != shownVersion(place) {
            break
          }
          let (slot, replaced) = state.takeListed(generation, index)
          #expect(
            replaced == model.take(path, shownVersion(place), state.nodes.id(of: slot), note), note)
        default:
          guard let id = model.nodes.keys.sorted().randomElement(using: &random) else { break }
          let count = UInt64.random(in: 1...model.nodes[id]!.references, using: &random)
          _ = state.forget(id, count: count)
          model.nodes[id]!.references -= count
          if model.nodes[id]!.references == 0 {
            if model.current[model.nodes[id]!.path] == id {
              model.current[model.nodes[id]!.path] = nil
            }
            model.nodes[id] = nil
          }
        }
        check(state, model, note)
      }
      for (id, known) in model.nodes { _ = state.forget(id, count: known.references) }
      #expect(state.nodes.count == 0, note)
      #expect(state.folders[.root]?.loose.isEmpty ?? true, note)
      #expect(state.folders[.root]?.listing?.nodes.count ?? 0 == 0, note)
    }
  }

  private func shownVersion(_ place: DirentTable.Place) -> Int {
    Int(place.seen.etag.dropFirst())!
  }

  /// One listing, of which nodes may be taken before it is complete, and which may fail.
  private func list(
    _ state: inout MetadataState, _ model: inout Model, _ now: Instant,
    _ random: inout some RandomNumberGenerator, _ note: Comment
  ) {
    var versions: [Int: Int] = [:]
    for path in 0..<5 where Int.random(in: 0..<4, using: &random) > 0 {
      let known = model.current[path].map { model.nodes[$0]!.version }
      versions[path] =
        Bool.random(using: &random) ? known ?? 0 : Int.random(in: 0..<3, using: &random)
    }
    let generation = listing(versions, at: now)
    state.folders[.root, default: DirectoryState()].fetching = generation
    for index in 0..<generation.count where Int.random(in: 0..<4, using: &random) == 0 {
      let place = generation[index]
      let path = Int(String(decoding: place.name.dropFirst(), as: UTF8.self))!
      let (slot, replaced) = state.takeListed(generation, index)
      #expect(
        replaced == model.take(path, shownVersion(place), state.nodes.id(of: slot), note), note)
    }
    if Int.random(in: 0..<4, using: &random) == 0 {
      state.abandon(generation)
      return
    }
    let replaced = Set((state.adopt(generation) ?? []).map(\.node))
    var expected: Set<NodeID> = []
    for (path, id) in model.current where model.nodes[id]!.version != versions[path] {
      expected.insert(id)
      model.current[path] = nil
    }
    #expect(replaced == expected, note)
  }

  private func check(_ state: MetadataState, _ model: Model, _ note: Comment) {
    #expect(state.nodes.count == model.nodes.count, note)
    for (id, known) in model.nodes {
      let node = state.node(id)
      #expect(node?.isStale == (model.current[known.path] != id), note)
      #expect(node?.name == name(known.path), note)
      #expect(node?.seen == seen(known.version), note)
    }
    for path in 0..<5 {
      let current = state.current(.root, name(path)).map { state.nodes.id(of: $0) }
      #expect(current == model.current[path], note)
    }
  }

  @Test func whatIsOlderThanTheNodeChangesNothing() {
    var state = MetadataState()
    let first = state.take(
      .root, name(1), LookupResult(what: .asked(seen(2)), at: Instant(nanoseconds: 5)))
    let again = state.take(
      .root, name(1), LookupResult(what: .asked(seen(1)), at: Instant(nanoseconds: 4)))
    #expect(first?.slot == again?.slot && again?.replaced == nil)
    #expect(again.map { state.seen($0.slot) } == seen(2))
  }
}
