import Glibc
import Metrics
import ObjectStore
import Posix
import TestSupport
import Testing

@testable import LocalStore

@Suite final class FolderStoreTests {
  private let folder: TemporaryFolder
  private let store: FolderStore
  private let metrics = Metrics()
  private let calls: StoreCalls

  init() throws {
    folder = try TemporaryFolder("folder")
    store = try FolderStore(folder: folder.path, metrics: metrics.store)
    calls = StoreCalls(store: store)
  }

  deinit { store.shutdown() }

  /// Makes a file whose name is bytes.
  private func file(_ name: [UInt8], _ contents: [UInt8]) {
    let path = (Array(folder.path.utf8) + [47] + name + [0]).map { CChar(bitPattern: $0) }
    let descriptor = open(path, O_CREAT | O_WRONLY, 0o644)
    #expect(descriptor >= 0)
    _ = contents.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
    close(descriptor)
  }

  @Test func namesAreBytesInOrderOfBytes() throws {
    let names: [[UInt8]] = [
      [0xff, 0xfe], Array("é".utf8), Array("e\u{301}".utf8), Array("a b".utf8), [1], [0xc3],
      Array("back\\slash\n".utf8), [UInt8](repeating: 0x80, count: 255), Array("...".utf8),
    ]
    for (index, name) in names.enumerated() { file(name, [UInt8](repeating: 9, count: index)) }
    mkdir(folder.path("sub"), 0o755)
    let page = try calls.list()
    #expect(page.objects.map(\.key.bytes) == names.sorted { $0.lexicographicallyPrecedes($1) })
    #expect(page.folders == [ObjectKey("sub/")])
    #expect(page.next == nil)
    for (index, name) in names.enumerated() {
      #expect(try calls.read(ObjectKey(bytes: name)).count == index)
    }
    #expect(try calls.list("sub/").objects.isEmpty)
  }

  @Test(arguments: [
    "..", ".", "../x", "sub/../x", "/etc/passwd", "sub//x", "sub/", "./x", "x/", "", "x\0y",
  ])
  func keysThatLeadElsewhereAreNotFound(_ key: String) throws {
    try folder.file("x", text: "x")
    try folder.file("sub/x", text: "x")
    #expect(StoreCalls.failure { _ = try calls.head(key) }?.kind == .notFound)
    let version = ObjectVersion(key: ObjectKey(key), etag: "", size: 1, modified: 0)
    #expect(StoreCalls.failure { _ = try calls.fetch(version) }?.kind == .notFound)
  }

  @Test(arguments: ["../", "./", "sub/../", "/", "sub//"])
  func foldersThatLeadElsewhereAreNotFound(_ key: String) throws {
    try folder.file("sub/x", text: "x")
    #expect(StoreCalls.failure { _ = try calls.list(key) }?.kind == .notFound)
  }

  @Test func onDemandLinksAreFollowedOutOfTheFolderAndThoseToNowhereLeftOut() throws {
    let outside = try TemporaryFolder("outside")
    try outside.file("f", text: "outside")
    symlink(outside.path("f"), folder.path("file"))
    symlink(outside.path, folder.path("folder"))
    symlink("/nowhere/at/all", folder.path("dangling"))
    symlink("loop", folder.path("loop"))
    mkfifo(folder.path("fifo"), 0o644)
    let store = try FolderStore(folder: folder.path, followsLinks: true, metrics: metrics.store)
    defer { store.shutdown() }
    let calls = StoreCalls(store: store)
    let page = try calls.list()
    #expect(page.objects.map(\.key) == [ObjectKey("file")])
    #expect(page.folders == [ObjectKey("folder/")])
    #expect(try calls.read(ObjectKey("folder/f")) == Array("outside".utf8))
    for name in ["dangling", "loop", "fifo", "folder"] {
      #expect(StoreCalls.failure { _ = try calls.head(name) }?.kind == .notFound)
    }
  }

  @Test func rangesAndEmptyFiles() throws {
    let contents = (0..<600_000).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ $0 >> 8) }
    try folder.file("f", contents)
    try folder.file("empty", [])
    let version = try #require(try calls.head("f").version)
    for range: Range<UInt64> in [0..<1, 599_999..<600_000, 0..<600_000, 262_143..<262_145] {
      let expected = Array(contents[Int(range.lowerBound)..<Int(range.upperBound)])
      #expect(try calls.fetch(version, range) == expected)
    }
    #expect(try calls.head("empty").size == 0)
    #expect(metrics.store.bytesFetched.count == 600_004)
    #expect(metrics.store.getRequests.count == 4)
  }

  @Test func everyWayOfChangingAFileIsSeen() throws {
    func change(_ body: () throws -> Void) throws -> StoreError.Kind? {
      try folder.file("f", text: "0123456789")
      var times = [timespec(tv_sec: 5, tv_nsec: 0), timespec(tv_sec: 5, tv_nsec: 0)]
      utimensat(AT_FDCWD, folder.path("f"), &times, 0)
      let version = try #require(try calls.head("f").version)
      try body()
      return StoreCalls.failure { _ = try calls.fetch(version) }?.kind
    }
    #expect(try change {} == nil)
    #expect(try change { try folder.file("f", text: "abcdefghij") } == .changed)
    #expect(try change { try folder.file("f", text: "0123456789+") } == .changed)
    #expect(try change { truncate(folder.path("f"), 3) } == .changed)
    let replaced = try change {
      try folder.file("g", text: "0123456789")
      rename(folder.path("g"), folder.path("f"))
    }
    #expect(replaced == .changed)
    #expect(try change { unlink(folder.path("f")) } == .notFound)
    // A FIFO in its place must not hold the reader.
    let fifo = try change {
      unlink(folder.path("f"))
      mkfifo(folder.path("f"), 0o644)
    }
    #expect(fifo == .changed)
  }

  @Test func unreadableIsAccessDenied() throws {
    try folder.file("f", text: "x")
    try folder.file("sub/f", text: "x")
    let version = try #require(try calls.head("f").version)
    chmod(folder.path("f"), 0)
    chmod(folder.path("sub"), 0)
    defer { chmod(folder.path("sub"), 0o755) }
    guard access(folder.path("f"), R_OK) != 0 else {
      printError("SKIPPED: unreadableIsAccessDenied: root may read everything")
      return
    }
    let refused = StoreCalls.failure { _ = try calls.fetch(version) }
    #expect(refused?.kind == .accessDenied)
    #expect(refused?.advice.isEmpty == false)
    #expect(StoreCalls.failure { _ = try calls.list("sub/") }?.kind == .accessDenied)
    #expect(try calls.list().objects.count == 1)
  }

  @Test func vanishedFolderIsEmptyAndAVanishedRootIsAnError() throws {
    try folder.file("root/sub/f", text: "x")
    let store = try FolderStore(folder: folder.path("root") + "//", metrics: metrics.store)
    defer { store.shutdown() }
    let calls = StoreCalls(store: store)
    #expect(try calls.list("sub/").objects.count == 1)
    removeTree(folder.path("root/sub"))
    #expect(try calls.list("sub/").objects.isEmpty)
    #expect(StoreCalls.failure { _ = try calls.head("sub/f") }?.kind == .notFound)
    removeTree(folder.path("root"))
    #expect(StoreCalls.failure { _ = try calls.list() }?.kind == .noSuchStore)
  }

  @Test func sourceMustBeAFolder() throws {
    try folder.file("f", text: "x")
    for (path, kind) in [
      (folder.path("none"), StoreError.Kind.noSuchStore), (folder.path("f"), .invalidSource),
      ("relative", .invalidSource), ("", .invalidSource),
    ] {
      let error = StoreCalls.failure { _ = try FolderStore(folder: path, metrics: metrics.store) }
      #expect(error?.kind == kind)
    }
    let root = try FolderStore(folder: "/", metrics: metrics.store)
    defer { root.shutdown() }
    #expect(try StoreCalls(store: root).list().folders.contains(ObjectKey("tmp/")))
  }

  @Test func everyCallEndsByItsDeadlineAndAtShutdown() throws {
    try folder.file("f", text: "x")
    let version = try #require(try calls.head("f").version)
    let sink = ByteSink()
    store.fetch(FetchRequest(version: version, range: 0..<1, deadline: .now), into: sink)
    #expect(StoreCalls.failure { _ = try sink.wait() }?.kind == .timedOut)
    store.shutdown()
    #expect(StoreCalls.failure { _ = try calls.list() }?.kind == .cancelled)
    #expect(StoreCalls.failure { _ = try calls.fetch(version) }?.kind == .cancelled)
  }

  @Test func cancelledFetchEnds() throws {
    try folder.sparseFile("big", size: 1 << 34)
    let version = try #require(try calls.head("big").version)
    let sink = DroppingSink()
    let request = FetchRequest(
      version: version, range: 0..<version.size, deadline: .now + .seconds(60))
    let ticket = store.fetch(request, into: sink)
    ticket.cancel()
    let result = sink.monitor.wait(until: .now + .seconds(60)) { $0 }
    #expect(StoreCalls.failure { try result?.get() }?.kind == .cancelled)
    ticket.cancel()
  }
}

/// Drops the bytes, keeps the end.
private final class DroppingSink: FetchSink {
  let monitor = Monitor<Result<Void, StoreError>?>(nil)
  var isAwaited: Bool { true }
  func waitedForLimit(_ time: Duration) {}
  func beginVerified() {}
  func receive(_ bytes: UnsafeRawBufferPointer) {}
  func finish(_ result: Result<Void, StoreError>) { monitor.signal { $0 = result } }
}
