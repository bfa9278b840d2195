import ObjectStore
import Posix
import Testing

@testable import FileSystem

/// Inodes and what the store shows, against a plain model: lookups, absences, listings complete, failed and read while
/// they come and the store changes, and references given back, in random order.
@Suite struct NameTreeTests {
  private struct Known {
    var path: Int
    var version: Int
    var references: UInt64
    /// When the store last showed the version.
    var checked: Instant
  }

  private struct Model {
    var nodes: [NodeID: Known] = [:]
    var current: [Int: NodeID] = [:]
    var used: Set<NodeID> = []

    /// What one lookup must lead to; returns the inode that it makes stale. `time`: when the store was asked.
    mutating func retain(
      _ path: Int, _ version: Int, _ id: NodeID, at time: Instant, _ note: Comment
    ) -> NodeID? {
      var replaced: NodeID?
      if let old = current[path], nodes[old]!.version != version, nodes[old]!.checked <= time {
        replaced = old
        current[path] = nil
      }
      if let known = current[path] {
        #expect(id == known, note)
        if nodes[known]!.version == version {
          nodes[known]!.checked = max(nodes[known]!.checked, time)
        }
      } else {
        #expect(used.insert(id).inserted, "a number used twice, \(note)")
        current[path] = id
        nodes[id] = Known(path: path, version: version, references: 0, checked: time)
      }
      nodes[id]?.references += 1
      return replaced
    }

    /// What a listing that began at a time shows to be stale.
    mutating func complete(_ versions: [Int: Int], at time: Instant) -> Set<NodeID> {
      var stale: Set<NodeID> = []
      for (path, id) in current {
        if nodes[id]!.version == versions[path] {
          nodes[id]!.checked = max(nodes[id]!.checked, time)
        } else if nodes[id]!.checked <= time {
          stale.insert(id)
          current[path] = nil
        }
      }
      return stale
    }
  }

  private static let account = ByteAccount()

  private func name(_ path: Int) -> [UInt8] { Array("p\(path)".utf8) }
  private func seen(_ version: Int) -> Observation {
    Observation(kind: .file, size: 1, modified: 0, etag: "v\(version)")
  }

  private func makeTree() -> NameTree { NameTree(ttl: .seconds(60)) }

  /// Begins a listing of the root and gives it all its pages.
  private func list(
    _ versions: [Int: Int], at now: Instant, in tree: inout NameTree
  ) -> DirectoryListing {
    let listing = tree.directories.begin(.root, isAhead: false, now: now) { id, directory, _ in
      DirectoryListing(id: id, directory: directory, started: now, account: Self.account)
    }
    let objects = versions.sorted { $0.key < $1.key }.map { path, version in
      ObjectAttributes(
        key: ObjectKey(bytes: name(path)), size: 1, modified: 0, etag: "v\(version)")
    }
    _ = listing.add(ListPage(objects: objects, folders: [], next: nil), isLast: true)
    return listing
  }

  @Test func inodesFollowWhatTheStoreShows() {
    for seed in 0..<2000 as Range<UInt64> {
      let note: Comment = "seed \(seed)"
      var random = SeededGenerator(seed: seed)
      var state = makeTree()
      var model = Model()
      for step in 1...80 as ClosedRange<UInt64> {
        let path = Int.random(in: 0..<5, using: &random)
        let version = Int.random(in: 0..<3, using: &random)
        let now = Instant(nanoseconds: step * 10)
        switch Int.random(in: 0..<8, using: &random) {
        case 0, 1:
          ask(&state, &model, path, version, now, note)
        case 2:
          let gone = state.observe(.root, name(path), LookupResult(what: .absent, at: now))
          #expect(gone == model.current[path], note)
          model.current[path] = nil
        case 3, 4: list(&state, &model, now, &random, note)
        case 5:
          guard let listing = state.directories[.root]?.listing, listing.count > 0 else { break }
          let index = Int.random(in: 0..<listing.count, using: &random)
          let place = listing[index]
          let path = Int(String(decoding: place.name.dropFirst(), as: UTF8.self))!
          retain(index, of: listing, &state, &model, path, note)
        default:
          guard let id = model.nodes.keys.sorted().randomElement(using: &random) else { break }
          let count = UInt64.random(in: 1...model.nodes[id]!.references, using: &random)
          _ = state.release(id, count: count)
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
      for (id, known) in model.nodes { _ = state.release(id, count: known.references) }
      #expect(state.inodes.count == 0, note)
      #expect(!state.inodes.hasUnlisted(in: .root), note)
      let listing = state.directories[.root]?.listing
      #expect(listing.map { state.inodes.count(of: $0.id) } ?? 0 == 0, note)
    }
  }

  private func shownVersion(_ place: DirentTable.Dirent) -> Int {
    Int(place.seen.etag.dropFirst())!
  }

  private func ask(
    _ state: inout NameTree, _ model: inout Model, _ path: Int, _ version: Int, _ now: Instant,
    _ note: Comment
  ) {
    let result = LookupResult(what: .asked(seen(version)), at: now)
    let retained = state.retain(.root, name(path), result)!
    let id = state.inodes.id(of: retained.inode)
    #expect(retained.replaced == model.retain(path, version, id, at: now, note), note)
  }

  private func retain(
    _ index: Int, of listing: DirectoryListing, _ state: inout NameTree, _ model: inout Model,
    _ path: Int, _ note: Comment
  ) {
    let version = shownVersion(listing[index])
    let retained = state.retain(index, of: listing)
    let id = state.inodes.id(of: retained.inode)
    #expect(
      retained.replaced == model.retain(path, version, id, at: listing.started, note), note)
  }

  /// One listing, of which inodes may be retained before it is complete, and which may fail.
  private func list(
    _ state: inout NameTree, _ model: inout Model, _ now: Instant,
    _ random: inout some RandomNumberGenerator, _ note: Comment
  ) {
    var versions: [Int: Int] = [:]
    for path in 0..<5 where Int.random(in: 0..<4, using: &random) > 0 {
      let known = model.current[path].map { model.nodes[$0]!.version }
      versions[path] =
        Bool.random(using: &random) ? known ?? 0 : Int.random(in: 0..<3, using: &random)
    }
    let listing = list(versions, at: now, in: &state)
    for index in 0..<listing.count where Int.random(in: 0..<4, using: &random) == 0 {
      let path = Int(String(decoding: listing[index].name.dropFirst(), as: UTF8.self))!
      retain(index, of: listing, &state, &model, path, note)
    }
    // The store is asked meanwhile, and may have changed.
    for later in 1..<Int.random(in: 1...4, using: &random) {
      let path = Int.random(in: 0..<5, using: &random)
      ask(
        &state, &model, path, Int.random(in: 0..<3, using: &random),
        Instant(nanoseconds: now.nanoseconds + UInt64(later)), note)
    }
    if Int.random(in: 0..<4, using: &random) == 0 {
      state.abandon(listing)
      return
    }
    let replaced = Set((state.complete(listing)?.replaced ?? []).map(\.node))
    let expected = model.complete(versions, at: now)
    #expect(replaced == expected, note)
  }

  private func check(_ state: NameTree, _ model: Model, _ note: Comment) {
    #expect(state.inodes.count == model.nodes.count, note)
    for (id, known) in model.nodes {
      let node = state.resolve(id)
      #expect(node?.isStale == (model.current[known.path] != id), note)
      #expect(node?.name == name(known.path), note)
      #expect(node?.seen == seen(known.version), note)
    }
    for path in 0..<5 {
      let current = state.current(.root, name(path)).map { state.inodes.id(of: $0) }
      #expect(current == model.current[path], note)
      guard let inode = state.current(.root, name(path)), let id = current else { continue }
      #expect(state.checked(inode) == model.nodes[id]?.checked, note)
    }
  }

  @Test func resultsOlderThanTheInodeChangeNothing() {
    var state = makeTree()
    let first = state.retain(
      .root, name(1), LookupResult(what: .asked(seen(2)), at: Instant(nanoseconds: 5)))
    let again = state.retain(
      .root, name(1), LookupResult(what: .asked(seen(1)), at: Instant(nanoseconds: 4)))
    #expect(first?.inode == again?.inode && again?.replaced == nil)
    #expect(again.map { state.seen($0.inode) } == seen(2))
  }
}
