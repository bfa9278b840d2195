import Logging
import Metrics
import ObjectStore
import Posix
import Testing

@testable import FileSystem

/// When an earlier mount's listings are asked for, and from when on nothing of them is left.
@Suite struct ListingPersistenceTests {
  private static let wall: Int64 = 1_700_000_000_000_000_000

  /// The parts of a mount that restore, after one that listed the root and its directories.
  private struct Remount {
    let folder: TestFolder
    let cache: MetadataCache
    let persistence: ListingPersistence
    let worker = WorkerPool(named: "persistence", threads: 1)

    /// `clocks`: ten seconds after the listings were made.
    init(clocks: MetadataClocks) throws {
      let store = KeyStore()
      store.put(["a/1", "b/1", "b/c/1"])
      folder = try TestFolder()
      do {
        let rig = try NamesRig(store, listingsFile: folder.path + "/listings", wall: wall)
        for name in try #require(rig.list()) {
          _ = rig.list(try #require(rig.find(name)).node)
        }
      }
      var options = FileSystemOptions(
        metadataTTL: .seconds(60), metadataLimit: 1 << 30,
        listingsFile: ListingsFile(folder: try PrivateFolder.open(folder.path)))
      options.clocks = clocks
      let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
      let context = MountContext(
        store: store, prefix: .root, options: options, metrics: Metrics(), log: log)
      cache = MetadataCache(context)
      persistence = ListingPersistence(context, cache: cache, worker: worker)
    }

    init() throws {
      try self.init(
        clocks: MetadataClocks(
          now: { Instant(nanoseconds: 1_000_000_000_000) },
          wallTime: { wall + Duration.seconds(10).nanoseconds }))
    }
  }

  @Test func nothingIsLeftOnceAllOfItIsDropped() throws {
    let mount = try Remount()
    defer { mount.worker.shutdown() }
    #expect(mount.persistence.hasMore && mount.persistence.isKept(ObjectKey("b/")))
    mount.persistence.drop(below: ObjectKey("b/"))
    #expect(mount.persistence.hasMore)
    #expect(!mount.persistence.isKept(ObjectKey("b/")) && mount.persistence.isKept(ObjectKey("a/")))
    mount.persistence.drop(below: .root)
    #expect(!mount.persistence.hasMore)
    mount.persistence.restore(ObjectKey("a/"))
    #expect(mount.cache.newestListing(of: ObjectKey("a/")) == nil)
  }

  @Test func nothingIsLeftOnceEachIsRestoredOrListedAnew() throws {
    let mount = try Remount()
    defer { mount.worker.shutdown() }
    mount.persistence.restoreAll(below: ObjectKey("b/"))
    mount.persistence.drop(ObjectKey("a/"))
    #expect(mount.persistence.hasMore)
    mount.persistence.restore(.root)
    #expect(!mount.persistence.hasMore)
    #expect(mount.cache.newestListing(of: ObjectKey("b/")) != nil)
    #expect(mount.cache.newestListing(of: ObjectKey("a/")) == nil)
  }

  /// A lookup asks for what is kept only where no listing is known.
  @Test func aLookupInAKnownDirectoryRestoresNothing() throws {
    let mount = try Remount()
    defer { mount.worker.shutdown() }
    func step(_ name: String, in directory: ObjectKey) -> MetadataState.LookupStep {
      mount.cache.lookUp(
        Array(name.utf8), in: directory, mayWait: true, mayRestore: mount.persistence.hasMore
      ) { _ in }
    }
    guard case .restore = step("a", in: .root) else {
      Issue.record("the listing is not restored")
      return
    }
    mount.persistence.restore(.root)
    #expect(mount.persistence.hasMore)
    guard case .done(let found) = step("a", in: .root) else {
      Issue.record("the listing is not used")
      return
    }
    #expect(found.seen?.kind == .folder)
  }

  /// Time passes between the two clocks that tell the age of a listing: it may count as older, never as younger.
  @Test func aRestoredListingIsNotYoungerThanItIs() throws {
    let start = Instant(nanoseconds: 1_000_000_000_000)
    let time = Lock(start)
    let mount = try Remount(
      clocks: MetadataClocks(
        now: { time.withLock { $0 } },
        wallTime: {
          time.withLock { $0 = $0 + .seconds(5) }
          return Self.wall + Duration.seconds(10).nanoseconds
        }))
    defer { mount.worker.shutdown() }
    let before = time.withLock { $0 }
    mount.persistence.restore(.root)
    let listing = try #require(mount.cache.newestListing(of: .root))
    #expect(listing.started + .seconds(10) <= before)
  }
}
