import Glibc
import Metrics
import ObjectStore
import Posix
import SystemPackage
import Testing

@testable import FileSystem

/// Listing ahead, listings kept from mount to mount, refresh and update, over keys in memory.
@Suite struct TreeTests {
  private func tree(folders: Int, files: Int) -> KeyStore {
    let store = KeyStore()
    for folder in 0..<folders {
      store.put((0..<files).map { "d\(folder + 100)/f\($0 + 100)" })
    }
    return store
  }

  // MARK: Listing ahead

  @Test func aWalkIsListedAheadInFewRoundTripsAndEachFolderOnce() throws {
    let store = tree(folders: 100, files: 20)
    let rig = try NamesRig(store)
    store.hold()
    var rounds = 0
    func names(_ node: NodeID) -> [String] {
      let folder = rig.open(node)!
      defer { folder.close() }
      while true {
        if let names = rig.names(folder) { return names }
        rounds += 1
        #expect(store.answer() > 0)
      }
    }
    let folders = names(FileSystem.root)
    #expect(folders.count == 100)
    for folder in folders {
      #expect(names(rig.find(folder)!.node).count == 20)
    }
    #expect(rounds <= 12)
    #expect(store.lists == 101)
    #expect(store.mostWaiting <= TraversalCredit.limit + 1)
  }

  @Test func aDeepTreeIsWalkedAheadToo() throws {
    let store = KeyStore()
    for a in 0..<6 {
      for b in 0..<6 { store.put((0..<6).map { "a\(a)/b\(b)/c\($0)/file" }) }
    }
    let rig = try NamesRig(store)
    var files = 0
    func walk(_ node: NodeID) {
      for name in rig.list(node)! {
        guard let found = rig.find(name, in: node) else { continue }
        if found.kind == .folder { walk(found.node) } else { files += 1 }
      }
    }
    walk(FileSystem.root)
    #expect(files == 216)
    #expect(store.lists == 1 + 6 + 36 + 216)
    #expect(rig.metrics.metadata.prefetchedListings.count > 200)
  }

  @Test func whoOpensAFewFoldersPaysForAFew() throws {
    let store = tree(folders: 1000, files: 3)
    let rig = try NamesRig(store)
    _ = rig.list()
    for folder in [900, 300, 600, 120, 1000] {
      _ = rig.list(rig.find("d\(folder)")!.node)
    }
    #expect(store.lists <= 1 + 5 + TraversalCredit.first + 2)
  }

  @Test func aFolderListedAheadStopsAtWhatWasGrantedUntilSomebodyWantsIt() throws {
    let store = KeyStore(pageSize: 10, listsFromAnyName: false)
    store.put(["a/1"])
    store.put((0..<5000).map { "b/\($0 + 10_000)" })
    let rig = try NamesRig(store)
    _ = rig.list()
    _ = rig.list(rig.find("a")!.node)
    #expect(store.lists < 20)
    #expect(rig.list(rig.find("b")!.node)?.count == 5000)
    #expect(store.lists == 1 + 1 + 500)
  }

  @Test func whatNobodyCameForIsForgottenAndTheNextWalkIsAheadAgain() throws {
    let store = KeyStore(pageSize: 10, listsFromAnyName: false)
    for folder in 0..<300 { store.put((0..<3).map { "d\(folder + 1000)/f\($0)" }) }
    // One that would go on for ever.
    store.put((0..<1000).map { "d1001/g\($0 + 1000)" })
    let rig = try NamesRig(store, ttl: .seconds(3600))
    let names = rig.list()!
    // Each use earns two more; then the walk stops.
    for name in names.prefix(60) { _ = rig.list(rig.find(name)!.node) }
    let ahead = rig.files.cache.copy().names.directories.credit.unused
    #expect(ahead > 32)
    rig.pass(TraversalCredit.expiry)
    _ = rig.list(rig.find(names[200])!.node)
    #expect(rig.files.cache.copy().names.directories.credit.unused <= TraversalCredit.limit)
    #expect(rig.files.cache.copy().names.directories.keys { $1.isAhead }.count < ahead)
    let lists = store.lists
    for name in names.suffix(90) { _ = rig.list(rig.find(name)!.node) }
    #expect(rig.files.cache.copy().names.directories.keys { $1.fetching != nil }.isEmpty)
    #expect(store.lists <= lists + 100)
  }

  @Test func aListingThatFailsOnItsWayFailsItsReader() throws {
    let store = KeyStore(pageSize: 10, listsFromAnyName: false)
    store.put((0..<100).map { "f\($0 + 100)" })
    store.failLists(from: 4)
    let rig = try NamesRig(store)
    store.hold()
    let folder = rig.open(FileSystem.root)!
    defer { folder.close() }
    var shown = 0
    var cookie: UInt64 = 2
    var failure: Errno?
    while failure == nil, shown < 100 {
      let taken = Lock<(count: Int, cookie: UInt64)>((0, cookie))
      let reply = Lock<Result<Void, Errno>?>(nil)
      folder.read(
        from: cookie, attributes: .none,
        add: { entry in
          taken.withLock { $0 = ($0.count + 1, entry.nextCookie) }
          return true
        }, done: { result in reply.withLock { $0 = result } })
      while reply.withLock({ $0 == nil }) { #expect(store.answer() > 0) }
      if case .failure(let error)? = reply.withLock({ $0 }) { failure = error }
      shown += taken.withLock { $0.count }
      cookie = taken.withLock { $0.cookie }
    }
    #expect(failure == .ioError)
    // All but the last of each page, which the next one could still have hidden.
    #expect(shown == 29)
  }

  // MARK: From mount to mount

  @Test func listingsAreBelievedAfterARemountWithinTheTTL() throws {
    let folder = try TestFolder()
    let path = folder.path + "/listings"
    let store = tree(folders: 20, files: 50)
    store.put(["x", "y"].map { "d100/\($0)" })
    var names: [String] = []
    var inode: UInt64 = 0
    do {
      let rig = try NamesRig(store, listingsFile: path)
      names = rig.list()!
      for name in names { _ = rig.list(rig.find(name)!.node) }
      inode = rig.find("x", in: rig.find("d100")!.node)!.inode
    }
    let lists = store.lists
    do {
      let rig = try NamesRig(store, listingsFile: path, wall: 1_700_000_030_000_000_000)
      #expect(rig.list() == names)
      let node = rig.find("d100")!.node
      #expect(rig.find("x", in: node)?.inode == inode)
      #expect(rig.find("absent", in: node) == nil)
      #expect(rig.list(node)?.count == 52)
      #expect(store.lists == lists && store.heads == 0)
      #expect(rig.metrics.metadata.restoredListings.count == 2)
    }
    // What nobody asked for at the second mount is still there for a third, as old as it is.
    do {
      let rig = try NamesRig(store, listingsFile: path, wall: 1_700_000_050_000_000_000)
      let before = store.lists
      _ = rig.list(rig.find("d110")!.node)
      #expect(store.lists == before)
      // Counted from when they were made, not from the mount.
      rig.pass(.seconds(11))
      #expect(rig.list() == names)
      #expect(store.lists == before + 1)
    }
    let late = try NamesRig(store, listingsFile: path, wall: 1_700_000_300_000_000_000)
    let before = store.lists
    _ = late.list()
    #expect(store.lists == before + 1)
  }

  @Test func aClockThatWasSetBackMakesListingsUnbelievable() throws {
    let folder = try TestFolder()
    let path = folder.path + "/listings"
    let store = tree(folders: 2, files: 2)
    do { _ = try NamesRig(store, listingsFile: path).list() }
    let lists = store.lists
    let rig = try NamesRig(store, listingsFile: path, wall: 1_600_000_000_000_000_000)
    _ = rig.list()
    #expect(store.lists == lists + 1)
  }

  @Test func aDamagedFileOfListingsIsAsIfItWereNotThere() throws {
    let folder = try TestFolder()
    let path = folder.path + "/listings"
    let store = tree(folders: 3, files: 4)
    var names: [String] = []
    do {
      let rig = try NamesRig(store, listingsFile: path)
      names = rig.list()!
      for name in names { _ = rig.list(rig.find(name)!.node) }
    }
    let whole = try folder.read("listings")
    for seed in 0..<300 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      var bytes = whole
      if seed % 3 == 0 {
        bytes.removeLast(Int.random(in: 1..<bytes.count, using: &random))
      } else {
        for _ in 0..<Int.random(in: 1...3, using: &random) {
          bytes[Int.random(in: 0..<bytes.count, using: &random)] = .random(
            in: 0...255, using: &random)
        }
      }
      try folder.write("listings", bytes)
      let rig = try NamesRig(store, listingsFile: path)
      #expect(rig.list() == names, "seed \(seed)")
      for name in names {
        #expect(rig.list(rig.find(name)!.node)?.count == 4, "seed \(seed)")
      }
    }
  }

  // MARK: Refresh and update

  @Test func refreshForgetsAPartOfTheTree() throws {
    let store = tree(folders: 5, files: 5)
    let rig = try NamesRig(store, ttl: .seconds(3600))
    let told = Lock<[Invalidation]>([])
    rig.files.onInvalidation { change in
      told.withLock { $0.append(change) }
      // As a kernel that drops names one by one.
      if case .everything = change { return false }
      return true
    }
    for name in rig.list()! { _ = rig.list(rig.find(name)!.node) }
    let node = rig.find("d101")!.node
    _ = rig.find("f102", in: node)
    store.put(["d101/new", "d102/new"])
    rig.pass(.seconds(1))
    #expect(rig.files.refresh(Array("d101".utf8)) == 1)
    #expect(rig.find("new", in: node) != nil)
    #expect(rig.find("new", in: rig.find("d102")!.node) == nil)
    rig.pass(.seconds(1))
    #expect(rig.files.refresh([]) == 6)
    #expect(rig.find("new", in: rig.find("d102")!.node) != nil)
    rig.files.shutdown()  // the notifier's jobs are done after it
    let names = told.withLock { told in
      told.compactMap { change -> String? in
        if case .entry(_, let name) = change { return String(decoding: name, as: UTF8.self) }
        return nil
      }
    }
    #expect(names.contains("f102") && names.contains("d101"))
  }

  @Test func updateTellsWhatTheStoreChanged() throws {
    let store = tree(folders: 30, files: 5)
    let rig = try NamesRig(store, ttl: .seconds(3600))
    for name in rig.list()! { _ = rig.list(rig.find(name)!.node) }
    let old = rig.find("f100", in: rig.find("d103")!.node)!
    store.put(Array("d101/new".utf8), KeyStore.Object(size: 7, etag: "n"))
    store.put(Array("d103/f100".utf8), KeyStore.Object(size: 9, etag: "other"))
    store.delete(Array("d105/f101".utf8))
    store.put(["fresh/deep/file"])
    for number in 100..<105 { store.delete(Array("d107/f\(number)".utf8)) }
    let report = Lock<UpdateReport?>(nil)
    rig.files.update([]) { found in report.withLock { $0 = found } }
    let found = try #require(report.withLock { $0 })
    #expect(found.failures.isEmpty)
    #expect(found.added == 2 && found.changed == 1 && found.removed == 6)
    #expect(found.directories == 33)
    #expect(
      Set(found.changes.map { "\($0.kind.rawValue) \($0.path)" })
        == Set(
          ["added d101/new", "added fresh/deep/file", "changed d103/f100", "removed d105/f101"]
            + (100..<105).map { "removed d107/f\($0)" }))
    // And the mount shows it.
    #expect(rig.find("new", in: rig.find("d101")!.node)?.size == 7)
    #expect(rig.find("d107") == nil)
    let reply = rig.now { rig.files.open(old.node, reply: $0) }
    guard case .failure(.staleNFSFileHandle)? = reply else {
      Issue.record("the old version is opened")
      return
    }
    let lists = store.lists
    rig.files.update([]) { found in report.withLock { $0 = found } }
    #expect(report.withLock { $0?.changes.isEmpty } == true)
    #expect(store.lists == lists + 33)
  }

  // MARK: Nodes

  @Test func aListingThatComesAgainKeepsNodesAndTheKernelsNames() throws {
    let store = tree(folders: 1, files: 100)
    let rig = try NamesRig(store)
    let node = rig.find("d100")!.node
    let before = rig.find("f150", in: node)!
    let first = rig.open(node)!
    defer { first.close() }
    _ = rig.names(first)
    rig.pass(.seconds(61))
    let second = rig.open(node)!
    defer { second.close() }
    #expect(rig.names(second, attributes: .all)?.count == 100)
    #expect(rig.find("f150", in: node)?.node == before.node)
    let third = rig.open(node)!
    defer { third.close() }
    #expect(third.unchangedSince == first.unchangedSince)
    store.put(["d100/new"])
    rig.pass(.seconds(61))
    let fourth = rig.open(node)!
    defer { fourth.close() }
    #expect(fourth.unchangedSince != first.unchangedSince)
    #expect(rig.find("f150", in: node)?.node == before.node)
  }

  @Test func namesThatTheKernelRefersToGoOnceItHasLetThemGo() throws {
    let store = tree(folders: 20, files: 500)
    let rig = try NamesRig(store, ttl: .seconds(3600), limit: 300_000)
    let references = Lock<[NodeID: UInt64]>([:])
    rig.files.onInvalidation { [weak rig] change in
      guard case .entry(let parent, let name) = change, let rig else { return true }
      // As the kernel does: it forgets, later.
      if let found = rig.find(String(decoding: name, as: UTF8.self), in: parent) {
        let count = references.withLock { $0.removeValue(forKey: found.node) ?? 0 }
        rig.files.forget(found.node, count: count + 1)
      }
      return true
    }
    for name in rig.list()! {
      let folder = rig.find(name)!.node
      for file in rig.list(folder)! {
        let node = rig.find(file, in: folder)!.node
        references.withLock { $0[node, default: 0] += 1 }
      }
    }
    rig.files.shutdown()  // the notifier's jobs are done after it
    #expect(rig.files.statistics().listedDirectories < 20)
  }

  @Test func etagsAreUnpackedAsTheyCame() {
    for seed in 0..<20_000 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      var etag = "\""
      let digits = Array(seed % 7 == 0 ? "0123456789abcdefA" : "0123456789abcdef")
      let length = seed % 5 == 0 ? Int.random(in: 0...40, using: &random) : 32
      for _ in 0..<length { etag.append(digits.randomElement(using: &random)!) }
      switch seed % 4 {
      case 0: etag += "-\(Int.random(in: 0...100_000, using: &random))"
      case 1: etag += ["-", "-0", "-07", "--3", "-1x"].randomElement(using: &random)!
      default: break
      }
      if seed % 11 != 0 { etag += "\"" }
      var blob: [UInt8] = []
      var text = etag
      let kind = text.withUTF8 { PackedETag.pack(UnsafeRawBufferPointer($0), into: &blob) }
      let unpacked = blob.withUnsafeBytes { PackedETag.unpack($0, kind) }
      #expect(unpacked == etag)
      if length == 32, seed % 4 > 1, seed % 11 != 0, seed % 7 != 0 { #expect(blob.count == 16) }
    }
  }
}

/// A folder that goes with its owner.
final class TestFolder: Sendable {
  let path: String

  init() throws {
    var template = Array("/tmp/millrace-tree-XXXXXX".utf8CString)
    path = try template.withUnsafeMutableBufferPointer {
      guard let made = mkdtemp($0.baseAddress!) else { throw Errno.last }
      return String(cString: made)
    }
  }

  deinit {
    unlink(path + "/listings")
    unlink(path + "/listings.new")
    rmdir(path)
  }

  func read(_ name: String) throws -> [UInt8] {
    let file = try OwnedDescriptor.open(path + "/" + name, O_RDONLY)
    var bytes = [UInt8](repeating: 0, count: 1 << 20)
    let count = Glibc.read(file.raw, &bytes, bytes.count)
    return Array(bytes.prefix(max(0, count)))
  }

  func write(_ name: String, _ bytes: [UInt8]) throws {
    let file = try OwnedDescriptor.open(path + "/" + name, O_WRONLY | O_CREAT | O_TRUNC)
    #expect(Glibc.write(file.raw, bytes, bytes.count) == bytes.count)
  }
}
