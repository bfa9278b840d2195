import Glibc
import Metrics
import ObjectStore
import Posix
import TestSupport
import Testing

@testable import LocalStore

/// Nothing outside the folder is shown, and what a link shows could be reached without it.
@Suite final class FolderLinkTests {
  private let folder: TemporaryFolder
  private let outside: TemporaryFolder
  private let metrics = Metrics()

  init() throws {
    folder = try TemporaryFolder("links")
    outside = try TemporaryFolder("outside")
    try outside.file("f", text: "secret")
    try folder.file("sub/f", text: "inside")
  }

  private func store(
    showsRights: Bool = false, onLinkOut: @escaping @Sendable (ObjectKey) -> Void = { _ in }
  ) throws -> (FolderStore, StoreCalls) {
    let store = try FolderStore(
      folder: folder.path, showsRights: showsRights, metrics: metrics.store, onLinkOut: onLinkOut)
    return (store, StoreCalls(store: store))
  }

  @Test func linksOutOfTheFolderAreNotShownAndSaidOnce() throws {
    for (target, name) in [
      (outside.path("f"), "file"), (outside.path, "folder"), ("../../../../../etc", "up"),
      ("/proc/self/fd", "magic"),
    ] { symlink(target, folder.path(name)) }
    let said = Lock<[ObjectKey]>([])
    let (store, calls) = try store { key in said.withLock { $0.append(key) } }
    defer { store.shutdown() }
    let page = try calls.list()
    #expect(page.objects.isEmpty && page.folders == [ObjectKey("sub/")])
    for name in ["file", "folder/f", "up/passwd", "magic/0"] {
      #expect(StoreCalls.failure { _ = try calls.head(name) }?.kind == .notFound, "\(name)")
      let version = ObjectVersion(key: ObjectKey(name), etag: "", size: 6, modified: 0)
      #expect(StoreCalls.failure { _ = try calls.fetch(version) }?.kind == .notFound, "\(name)")
    }
    #expect(try calls.list("folder/").objects.isEmpty)
    #expect(said.withLock { $0.count } == 1)
  }

  @Test func linksThatEndInTheFolderAreFollowedAlsoAbsoluteOnes() throws {
    symlink("sub/f", folder.path("relative"))
    symlink(folder.path("sub/f"), folder.path("absolute"))
    symlink(folder.path("sub"), folder.path("folder"))
    let (store, calls) = try store()
    defer { store.shutdown() }
    let page = try calls.list()
    #expect(page.objects.map(\.key) == [ObjectKey("absolute"), ObjectKey("relative")])
    #expect(page.folders == [ObjectKey("folder/"), ObjectKey("sub/")])
    for name in ["relative", "absolute", "folder/f"] {
      #expect(try calls.read(ObjectKey(name)) == Array("inside".utf8), "\(name)")
    }
  }

  @Test func aFolderSwappedForALinkAfterTheListingIsRefused() throws {
    let (store, calls) = try store()
    defer { store.shutdown() }
    let version = try #require(try calls.head("sub/f").version)
    #expect(rename(folder.path("sub"), folder.path("old")) == 0)
    symlink(outside.path, folder.path("sub"))
    #expect(StoreCalls.failure { _ = try calls.fetch(version) }?.kind == .notFound)
  }

  @Test func ownerAndModesAreShownWithoutWriteBits() throws {
    #expect(chmod(folder.path("sub/f"), 0o640) == 0 && chmod(folder.path("sub"), 0o750) == 0)
    let (store, calls) = try store(showsRights: true)
    defer { store.shutdown() }
    let file = AccessRights(owner: geteuid(), group: getegid(), mode: 0o440)
    #expect(AccessRights(etag: try calls.head("sub/f").etag) == file)
    #expect(AccessRights(etag: try calls.list("sub/").objects[0].etag) == file)
    let page = try calls.list("sub/")
    #expect(AccessRights(etag: page.folderETag)?.mode == 0o550)
    #expect(store.rights?.mode == 0o500)
    // Of the same version is what has other rights since: who reads it goes on.
    let version = try #require(try calls.head("sub/f").version)
    #expect(chmod(folder.path("sub/f"), 0o600) == 0)
    #expect(try calls.fetch(version) == Array("inside".utf8))
    #expect(try calls.head("sub/f").version != version)
  }

  @Test func aLinkIntoAFolderThatNotAllMayEnterIsNotShown() throws {
    symlink("../sub/f", folder.path("link"))
    symlink("sub/f", folder.path("file"))
    symlink("sub", folder.path("folder"))
    for (mode, shown) in [(0o750, ["sub/"]), (0o711, ["file", "folder/", "sub/"])] {
      #expect(chmod(folder.path("sub"), mode_t(mode)) == 0)
      let (store, calls) = try store(showsRights: true)
      defer { store.shutdown() }
      let page = try calls.list()
      let names = page.objects.map(\.key) + page.folders
      #expect(
        names.map { "\($0)" }.sorted().filter { $0 != "folder/" }
          == shown.filter { $0 != "folder/" })
      #expect((StoreCalls.failure { _ = try calls.head("file") } == nil) == (mode == 0o711))
    }
  }

  @Test func rightsAreReadFromTheEndOfAValidatorAlone() {
    let rights = AccessRights(owner: 1000, group: 7, mode: 0o640)
    #expect(AccessRights(etag: "12-3.4-5" + rights.suffix) == rights && rights.mode == 0o440)
    #expect(AccessRights.stripped("12-3.4-5" + rights.suffix) == "12-3.4-5")
    for etag in ["", "@", "a@b", "@1:2", "@1:2:9", "@-1:2:4", "@1:2:4:4", "\"x@y\""] {
      #expect(
        AccessRights(etag: etag) == nil && AccessRights.stripped(etag) == etag[...], "\(etag)")
    }
  }
}
