import Glibc
import ObjectStore
import Posix
import ReadEngine
import SystemPackage
import Testing

@testable import FileSystem

/// Random trees, random operations, objects that come, change and go at random moments: after each
/// operation the answer must be one that was true within the metadata TTL.
///
/// MILLRACE_MODEL_SEED=N runs that sequence alone.
@Suite struct ModelTests {
  @Test func everyAnswerWasTrueWithinTheTTL() throws {
    let only = getenv("MILLRACE_MODEL_SEED").flatMap { UInt64(String(cString: $0)) }
    for seed in only.map({ $0..<$0 + 1 }) ?? 0..<2500 {
      var sequence = try Sequence(seed: seed)
      sequence.run()
      if let complaint = sequence.complaint {
        Issue.record("MILLRACE_MODEL_SEED=\(seed), step \(sequence.step): \(complaint)")
        return
      }
    }
  }

  private struct Handle {
    var folder: OpenFolder
    var path: [UInt8]
    var openedAt: Instant
    var names: [String]?
  }

  private struct Known {
    var path: [UInt8]
    var found: PlainTree.Found
    var references: UInt64
    var since: Instant
  }

  private struct Sequence {
    private var random: SeededGenerator
    private let store: KeyStore
    private let rig: NamesRig
    private let ttl: Duration
    /// The store from each moment on.
    private var history: [(at: Instant, tree: PlainTree)] = []
    /// Nothing older is believed.
    private var refreshed = Instant(nanoseconds: 0)
    private var nodes: [NodeID: Known] = [:]
    private var used: [NodeID: (path: [UInt8], found: PlainTree.Found)] = [:]
    private var handles: [Handle] = []
    private(set) var complaint: String?
    private(set) var step = 0

    private static let universe: [[UInt8]] =
      [
        "a", "a-", "a-1", "a/x", "a/x/y", "a/z", "a-/q", "b", "b/c/d", "b/c/e", "b/c", "é", "m/",
        "m/n",
      ]
      .map { Array($0.utf8) } + [
        Array("a//hidden".utf8), Array("./k".utf8), Array("b/../u".utf8),
        Array(repeating: 110, count: 255), Array(repeating: 111, count: 256), [97, 47, 0, 98],
        [0xff, 0xfe],
      ]
    private static let paths: [[UInt8]] =
      universe.filter { key in
        key.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
          .allSatisfy { PlainTree.isReachable(Array($0)) }
      } + [Array("absent".utf8)]

    init(seed: UInt64) throws {
      random = SeededGenerator(seed: seed)
      ttl = [.zero, .seconds(10), .seconds(10), .seconds(100)].randomElement(using: &random)!
      store = KeyStore(pageSize: [1, 2, 5, 1000].randomElement(using: &random)!)
      let limit = [1 << 30, 4000].randomElement(using: &random)!
      rig = try NamesRig(store, ttl: ttl, limit: limit)
      for key in Self.universe where Bool.random(using: &random) { store.put(key, object()) }
      record()
    }

    private mutating func object() -> KeyStore.Object {
      KeyStore.Object(
        size: .random(in: 0...2, using: &random),
        etag: "\"v\(Int.random(in: 0...3, using: &random))\"")
    }

    private mutating func record() { history.append((now, PlainTree(keys: store.objects))) }
    private var now: Instant { rig.time.withLock { $0 } }

    /// The trees that an answer may be of.
    private func window(since start: Instant? = nil) -> [PlainTree] {
      let oldest = start ?? oldestBelieved
      let first = history.lastIndex { $0.at <= oldest } ?? 0
      return history[first...].map(\.tree)
    }

    mutating func run() {
      for number in 0..<Int.random(in: 20...80, using: &random) where complaint == nil {
        step = number
        // Questions take no time here, so that each has its own moment.
        rig.pass(.nanoseconds(1000))
        switch Int.random(in: 0..<16, using: &random) {
        case 0, 1, 2: change()
        case 3: rig.pass([.seconds(1), .seconds(4), ttl, ttl * 2].randomElement(using: &random)!)
        case 4, 5, 6, 7: walk(Self.paths.randomElement(using: &random)!)
        case 8, 9: read()
        case 10: openFolder()
        case 11: readAgain()
        case 12, 13: ask()
        case 14:
          rig.pass(.nanoseconds(1))
          _ = rig.files.refresh([])
          refreshed = now
        default: forget()
        }
      }
      end()
    }

    private mutating func change() {
      let key = Self.universe.randomElement(using: &random)!
      if Int.random(in: 0..<3, using: &random) == 0 {
        store.delete(key)
      } else {
        store.put(key, object())
      }
      record()
    }

    // MARK: Names

    private mutating func walk(_ path: [UInt8]) {
      var node = FileSystem.root
      var place: [UInt8] = []
      for name in path.split(separator: UInt8(ascii: "/")).map(Array.init) {
        let parent = place
        place = (place.isEmpty ? [] : place + [UInt8(ascii: "/")]) + name
        guard let found = lookup(name, in: node, parent, place) else { return }
        node = found
      }
    }

    /// Returns the node if it is a folder.
    private mutating func lookup(
      _ name: [UInt8], in node: NodeID, _ parent: [UInt8], _ path: [UInt8]
    ) -> NodeID? {
      let reply: Result<LookupAnswer, Errno>? = rig.now { reply in
        name.withUnsafeBytes { rig.files.lookup(parent: node, name: $0, reply: reply) }
      }
      let allowed = Set(window().map { $0.found(path) })
      switch reply {
      case .success(.found(let attributes))?:
        take(attributes, path, allowed)
        return attributes.kind == .folder ? attributes.node : nil
      case .success(.absent)?:
        if !allowed.contains(.none) { complain("no \(text(path)), which was there: \(allowed)") }
      case .failure(.staleNFSFileHandle)?:
        if window(since: nodes[node]?.since).allSatisfy({ $0.found(parent) == .folder }) {
          complain("the folder of \(text(path)) is stale")
        }
      default: complain("lookup of \(text(path)): \(String(describing: reply))")
      }
      return nil
    }

    private mutating func take(
      _ attributes: NodeAttributes, _ path: [UInt8], _ allowed: Set<PlainTree.Found>
    ) {
      let isFolder = attributes.kind == .folder
      let matching = allowed.filter { found in
        switch found {
        case .folder: isFolder
        case .file(_, let size): !isFolder && size == attributes.size
        case .none: false
        }
      }
      if matching.isEmpty {
        complain("\(text(path)) is \(attributes.kind) of \(attributes.size), not one of \(allowed)")
      }
      if attributes.validFor > ttl { complain("\(text(path)) is valid for \(attributes.validFor)") }
      if attributes.inode != NameRules.inode(of: path) { complain("the inode of \(text(path))") }
      let version = version(of: attributes.node, isFolder)
      if !allowed.contains(version) { complain("\(text(path)) is \(version), not of \(allowed)") }
      if let known = used[attributes.node], known.path != path || known.found != version {
        complain("node \(attributes.node) was \(text(known.path)) \(known.found)")
      }
      used[attributes.node] = (path, version)
      var known =
        nodes[attributes.node]
        ?? Known(path: path, found: version, references: 0, since: oldestBelieved)
      known.references += 1
      nodes[attributes.node] = known
    }

    private var oldestBelieved: Instant {
      max(
        Instant(nanoseconds: UInt64(max(0, Int64(now.nanoseconds) - ttl.nanoseconds))), refreshed)
    }

    private func version(of node: NodeID, _ isFolder: Bool) -> PlainTree.Found {
      if isFolder { return .folder }
      let seen = rig.files.cache.resolve(node)?.seen
      return .file(etag: seen?.etag ?? "?", size: seen?.size ?? .max)
    }

    // MARK: Folders

    private mutating func anyFolder() -> (node: NodeID, path: [UInt8]) {
      let known = nodes.filter { $0.value.found == .folder }.keys.sorted()
      guard let node = known.randomElement(using: &random), Bool.random(using: &random) else {
        return (FileSystem.root, [])
      }
      return (node, nodes[node]!.path)
    }

    private mutating func openFolder() {
      let (node, path) = anyFolder()
      guard let folder = rig.open(node), handles.count < 5 else { return }
      handles.append(Handle(folder: folder, path: path, openedAt: oldestBelieved))
    }

    private mutating func read() {
      let (node, path) = anyFolder()
      guard let folder = rig.open(node) else {
        if node == FileSystem.root { complain("the root cannot be opened") }
        return
      }
      defer { folder.close() }
      check(rig.names(folder), of: path, window(), plus: folder)
    }

    private mutating func check(
      _ names: [String]?, of path: [UInt8], _ trees: [PlainTree], plus folder: OpenFolder?
    ) {
      guard let names else { return complain("\(text(path)) is not read to its end") }
      if Set(names).count != names.count { complain("a name twice in \(text(path)): \(names)") }
      let fits = trees.filter { tree in
        Set(tree.names(in: path).keys.map { String(decoding: $0, as: UTF8.self) }) == Set(names)
      }
      if fits.isEmpty {
        complain(
          "\(text(path)) has \(names.sorted()), never so within the TTL: "
            + "\(trees.map { $0.names(in: path).keys.map(text).sorted() })")
      }
      guard let folder, Bool.random(using: &random) else { return }
      readPlus(folder, path)
    }

    /// The same with attributes: each entry is a lookup.
    private mutating func readPlus(_ folder: OpenFolder, _ path: [UInt8]) {
      let entries = Lock<[(name: [UInt8], attributes: NodeAttributes)]>([])
      let limit = Int.random(in: 1...10, using: &random)
      _ = rig.now { done in
        folder.read(
          from: 2, attributes: .all,
          add: { entry in
            guard entries.withLock({ $0.count }) < limit else { return false }
            if let attributes = entry.attributes {
              entries.withLock { $0.append((Array(entry.name), attributes)) }
            }
            return true
          }, done: done)
      }
      for (name, attributes) in entries.withLock({ $0 }) {
        let whole = (path.isEmpty ? [] : path + [UInt8(ascii: "/")]) + name
        take(attributes, whole, Set(window().map { $0.found(whole) }))
      }
    }

    private mutating func readAgain() {
      guard let index = handles.indices.randomElement(using: &random) else { return }
      let handle = handles[index]
      let names = rig.names(handle.folder)
      if let before = handle.names {
        if names != before { complain("\(text(handle.path)) changed while it was open") }
      } else {
        check(names, of: handle.path, window(since: handle.openedAt), plus: nil)
        handles[index].names = names
      }
      if Bool.random(using: &random) {
        handles[index].folder.close()
        handles.remove(at: index)
      }
    }

    // MARK: Nodes

    private mutating func ask() {
      guard let node = nodes.keys.sorted().randomElement(using: &random), let known = nodes[node]
      else { return }
      let result: Errno?
      if Bool.random(using: &random) {
        let reply = rig.now { rig.files.attributes(of: node, reply: $0) }
        guard let reply else { return complain("getattr is not answered") }
        if case .failure(let error) = reply { result = error } else { result = nil }
      } else {
        let reply = rig.now { rig.files.open(node, reply: $0) }
        switch reply {
        case .success(let file)?:
          if file.object.version.etag != etag(known.found) { complain("another version is opened") }
          file.close()
          result = nil
        case .failure(.isDirectory)? where known.found == .folder: result = nil
        case .failure(let error)?: result = error
        case nil: return complain("open is not answered")
        }
      }
      switch result {
      case nil:
        if !window().contains(where: { $0.found(known.path) == known.found }) {
          complain("\(text(known.path)) is still \(known.found)")
        }
      case .staleNFSFileHandle?:
        if window(since: known.since).allSatisfy({ $0.found(known.path) == known.found }) {
          complain("\(text(known.path)) is stale and never changed")
        }
      case let error?: complain("\(text(known.path)): \(error)")
      }
    }

    private func etag(_ found: PlainTree.Found) -> String {
      if case .file(let etag, _) = found { return etag }
      return ""
    }

    private mutating func forget() {
      guard let node = nodes.keys.sorted().randomElement(using: &random) else { return }
      let count = UInt64.random(in: 1...nodes[node]!.references, using: &random)
      rig.files.forget(node, count: count)
      nodes[node]!.references -= count
      if nodes[node]!.references == 0 { nodes[node] = nil }
    }

    private mutating func end() {
      for handle in handles { handle.folder.close() }
      for (node, known) in nodes { rig.files.forget(node, count: known.references) }
      let left = rig.files.statistics().nodes
      if left != 0 && complaint == nil { complain("\(left) nodes are left") }
    }

    private mutating func complain(_ text: String) {
      if complaint == nil { complaint = text }
    }

    private func text(_ path: [UInt8]) -> String { "'\(String(decoding: path, as: UTF8.self))'" }
  }
}
