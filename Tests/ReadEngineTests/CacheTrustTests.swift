import Glibc
import Logging
import ObjectStore
import Posix
import TestSupport
import Testing

@testable import ReadEngine

/// What others put into the way of the cache is neither read nor written to.
@Suite(.serialized)
struct CacheTrustTests {
  private static let size = 200_000
  private let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

  private func read(_ rig: EngineRig, _ engine: ReadEngine, _ version: ObjectVersion) async throws {
    let object = engine.open(version)
    defer { object.close() }
    let bytes = try await object.bytes(at: 0, count: Self.size)
    #expect(bytes == content(at: 0, count: bytes.count))
  }

  private func cacheFile(_ rig: EngineRig) throws -> String {
    let found = files(under: rig.cache).filter {
      $0.contains("/objects/") && !$0.hasSuffix(".pieces")
    }
    return rig.cache + "/" + (try #require(found.first))
  }

  @Test func aLinkInPlaceOfACacheFileIsNeitherReadNorWritten() async throws {
    let rig = try EngineRig()
    let version = try await rig.put("f", size: Self.size)
    let engine = try rig.engine()
    try await read(rig, engine, version)
    engine.shutdown()
    // The same bytes, size and record, so that only the link tells it apart.
    let file = try cacheFile(rig)
    let victim = rig.folder + "/victim"
    #expect(Glibc.rename(file, victim) == 0)
    let before = try readFile(victim)
    for plant in [symlink, link] {
      #expect(plant(victim, file) == 0)
      rig.store.change { $0.fetched = [] }
      let next = try rig.engine()
      try await read(rig, next, version)
      next.shutdown()
      #expect(rig.store.bytesFetched >= UInt64(Self.size))
      #expect(try readFile(victim) == before)
      var status = stat()
      #expect(lstat(file, &status) == 0 && status.st_mode & S_IFMT == S_IFREG)
      #expect(status.st_nlink == 1)
      unlink(file)
    }
  }

  @Test func aCacheFolderThatIsReplacedWhileInUseGoesOnInTheOldOne() async throws {
    let rig = try EngineRig()
    let version = try await rig.put("f", size: Self.size)
    let engine = try rig.engine()
    let old = rig.folder + "/old"
    #expect(Glibc.rename(rig.cache, old) == 0)
    mkdir(rig.cache, 0o777)
    try await read(rig, engine, version)
    engine.shutdown()
    #expect(files(under: rig.cache).isEmpty)
    #expect(files(under: old).contains { $0.contains("/objects/") })
  }

  @Test func aStoresFolderThatOthersCouldFillIsLeftAlone() throws {
    let scratch = try TemporaryFolder("trust")
    func claim() throws -> String {
      let folder = try CacheFolder(root: scratch.path, store: "s3://b", log: log)
      folder.release()
      return String(folder.path.dropFirst(scratch.path.count + 1))
    }
    let name = CacheFolder.folderName(of: "s3://b")
    let path = scratch.path(name)
    #expect(try claim() == name)
    #expect(chmod(path, 0o777) == 0)
    #expect(try claim() == name + ".2")
    #expect(chmod(path, 0o700) == 0)
    #expect(try claim() == name)
    mkdir(path + "/objects/ab", 0o700)
    #expect(chmod(path + "/objects/ab", 0o770) == 0)
    #expect(try claim() == name + ".2")
    #expect(chmod(path + "/objects/ab", 0o700) == 0)
    // A link among the sub-folders is taken away.
    #expect(symlink("/etc", path + "/objects/cd") == 0)
    #expect(try claim() == name)
    #expect(!fileExists(path + "/objects/cd"))
    removeTree(path)
    #expect(symlink(scratch.path(name + ".2"), path) == 0)
    #expect(try claim() == name + ".2")
    unlink(path)
  }

  @Test func aDiskThatIsNotWrittenInTimeIsCleanOnlyWhileTheMachineRuns() throws {
    let scratch = try TemporaryFolder("trust")
    let first = try CacheFolder(root: scratch.path, store: "s3://b", log: log)
    #expect(!first.release(within: .zero))
    let state = try #require(FolderState(bytes: first.files.read("state", limit: 1024) ?? []))
    #expect(!state.isClean)
    #expect(
      FolderState(after: state, boot: state.boot, now: 0, store: "s").trustedFrom
        == state.trustedFrom)
    #expect(
      FolderState(after: state, boot: "later", now: 0, store: "s").trustedFrom > state.generation)
    // Its lock is gone all the same, and a disk that is in time is marked.
    let second = try CacheFolder(root: scratch.path, store: "s3://b", log: log)
    #expect(second.path == first.path)
    #expect(second.release())
    #expect(FolderState(bytes: second.files.read("state", limit: 1024) ?? [])?.isClean == true)
  }

  @Test func theFolderOfAnotherStoreIsNotUsedWhateverItsName() throws {
    let scratch = try TemporaryFolder("trust")
    let other = try CacheFolder(root: scratch.path, store: "s3://other", log: log)
    other.release()
    let name = CacheFolder.folderName(of: "s3://b")
    #expect(Glibc.rename(other.path, scratch.path(name)) == 0)
    let folder = try CacheFolder(root: scratch.path, store: "s3://b", log: log)
    #expect(folder.path == scratch.path(name + ".2"))
  }

  @Test func aFolderUnderTheShortNameOfBeforeIsTakenOver() throws {
    let scratch = try TemporaryFolder("trust")
    let name = CacheFolder.folderName(of: "s3://b")
    try scratch.folder(String(name.dropLast(24)) + "/objects/ab", mode: 0o700)
    try scratch.file(String(name.dropLast(24)) + "/objects/ab/kept", text: "x")
    let folder = try CacheFolder(root: scratch.path, store: "s3://b", log: log)
    #expect(folder.path == scratch.path(name))
    #expect(fileExists(folder.path + "/objects/ab/kept"))
  }

  @Test func anUnsafeRootIsRefusedWithTheNextStep() throws {
    let scratch = try TemporaryFolder("trust")
    let shared = try scratch.folder("shared")
    #expect(chmod(shared, 0o777) == 0)
    let error = #expect(throws: EngineError.self) {
      try CacheFolder(root: shared + "/cache", store: "s3://b", log: log)
    }
    let text = error.map { "\($0)" } ?? ""
    #expect(text.contains(shared) && text.contains("chmod go-w"), "\(text)")
    #expect(text.contains("--cache-dir"), "\(text)")
  }
}
