import Glibc
import Logging
import Metrics
import ObjectStore
import Posix
import ReadEngine
import SystemPackage
import Testing

/// The rules of the disk tier: what survives, what is trusted, what goes, who owns it.
@Suite(.serialized)
struct DiskTierTests {
  static let large = 3 << 20
  static let small = 200_000

  /// Reads both objects whole and returns what the store had to give.
  private func readAll(
    _ rig: EngineRig, _ engine: ReadEngine, _ versions: [ObjectVersion]
  ) async throws -> UInt64 {
    rig.store.change { $0.fetched = [] }
    for version in versions {
      let object = engine.open(version)
      defer { object.close() }
      var position: UInt64 = 0
      while position < version.size {
        let bytes = try await object.bytes(at: position, count: 256 << 10)
        #expect(bytes == content(at: position, count: bytes.count), "\(version.key) at \(position)")
        position += UInt64(bytes.count)
      }
    }
    return rig.store.bytesFetched
  }

  private func settle(_ engine: ReadEngine) async throws {
    try await until { engine.usage().objectsInUse == 0 }
  }

  private func filledCache(_ rig: EngineRig) async throws -> [ObjectVersion] {
    let versions = [
      try await rig.put("large", size: Self.large), try await rig.put("small", size: Self.small),
    ]
    let engine = try rig.engine()
    _ = try await readAll(rig, engine, versions)
    // The last bytes are answered before they are written.
    try await settle(engine)
    engine.shutdown()
    return versions
  }

  private func cacheFiles(_ rig: EngineRig, where matches: (String) -> Bool) -> [String] {
    files(under: rig.cache).filter { $0.contains("/objects/") && matches($0) }.map {
      rig.cache + "/" + $0
    }
  }

  private func setState(_ rig: EngineRig, boot: String, isClean: Bool) {
    for path in files(under: rig.cache) where path.hasSuffix("/state") {
      let old = (readSmallFile(rig.cache + "/" + path) ?? "").split(separator: "\n").dropFirst(2)
      let lines = ["boot \(boot)", "clean \(isClean ? 1 : 0)"] + old.map(String.init)
      let text = lines.joined(separator: "\n") + "\n"
      overwrite(rig.cache + "/" + path, at: 0, with: Array(text.utf8), truncating: true)
    }
  }

  private func overwrite(
    _ path: String, at offset: Int, with bytes: [UInt8], truncating: Bool = false
  ) {
    let file = open(path, O_WRONLY | (truncating ? O_TRUNC : 0))
    #expect(file >= 0)
    #expect(pwrite(file, bytes, bytes.count, off_t(offset)) == bytes.count)
    close(file)
  }

  @Test("byte n of the object is byte n of the cache file")
  func cacheFilesAreMirrors() async throws {
    let rig = try EngineRig()
    _ = try await filledCache(rig)
    for path in cacheFiles(rig, where: { !$0.hasSuffix(".pieces") }) {
      var status = stat()
      #expect(stat(path, &status) == 0)
      #expect([Self.large, Self.small].contains(Int(status.st_size)))
      let file = open(path, O_RDONLY)
      defer { close(file) }
      var bytes = [UInt8](repeating: 0, count: Int(status.st_size))
      #expect(pread(file, &bytes, bytes.count, 0) == bytes.count)
      #expect(bytes == content(at: 0, count: bytes.count))
      #expect(status.st_mode & 0o777 == 0o600)
    }
  }

  @Test("after a clean unmount the next boot trusts what is there")
  func cleanUnmountIsTrusted() async throws {
    let rig = try EngineRig()
    let versions = try await filledCache(rig)
    setState(rig, boot: "another-boot", isClean: true)
    let engine = try rig.engine()
    #expect(try await readAll(rig, engine, versions) == 0)
    engine.shutdown()
  }

  @Test("after a crash of the machine every piece is verified, and damaged ones are fetched again")
  func crashMeansVerification() async throws {
    let rig = try EngineRig()
    let versions = try await filledCache(rig)
    setState(rig, boot: "another-boot", isClean: false)
    for path in cacheFiles(rig, where: { !$0.hasSuffix(".pieces") }) {
      overwrite(path, at: 150_000, with: [1, 2, 3, 4])
    }
    let engine = try rig.engine()
    // One piece of the large object, and the small one whole.
    #expect(try await readAll(rig, engine, versions) == UInt64((128 << 10) + Self.small))
    #expect(rig.metrics.cache.corruptBlocks.count == 2)
    try await settle(engine)
    #expect(try await readAll(rig, engine, versions) == 0)
    engine.shutdown()
  }

  @Test("a piece without its record is fetched, whatever the mirror holds")
  func recordsDecide() async throws {
    let rig = try EngineRig()
    let versions = try await filledCache(rig)
    for path in cacheFiles(rig, where: { $0.hasSuffix(".pieces") }) {
      overwrite(path, at: 4096 + 8 * 5, with: [UInt8](repeating: 0, count: 16))
    }
    let engine = try rig.engine()
    #expect(try await readAll(rig, engine, versions) == UInt64(2 * (128 << 10)))
    engine.shutdown()
  }

  @Test(
    "cache files that are cut short, empty, foreign or garbage are a miss and never wrong bytes",
    arguments: ["truncate", "empty", "garbage", "swap", "no sidecar", "no attribute"])
  func damagedFilesAreMisses(damage: String) async throws {
    let rig = try EngineRig()
    let versions = try await filledCache(rig)
    for path in cacheFiles(rig, where: { _ in true }) {
      switch damage {
      case "truncate": truncate(path, 100_000)
      case "empty": truncate(path, 0)
      case "garbage":
        if path.hasSuffix(".pieces") {
          overwrite(path, at: 0, with: (0..<5000).map { _ in UInt8.random(in: 0...255) })
        }
      case "swap": if path.hasSuffix(".pieces") { overwrite(path, at: 30, with: [9, 9, 9]) }
      case "no sidecar": if path.hasSuffix(".pieces") { unlink(path) }
      default: rename(path, path + ".x")
      }
    }
    let engine = try rig.engine()
    _ = try await readAll(rig, engine, versions)
    try await settle(engine)
    #expect(try await readAll(rig, engine, versions) == 0)
    engine.shutdown()
  }

  @Test("a cache file that is cut short while it is read is a miss, not an error")
  func truncationUnderAReader() async throws {
    let rig = try EngineRig()
    let versions = try await filledCache(rig)
    let engine = try rig.engine()
    let object = engine.open(versions[0])
    #expect(try await object.bytes(at: 0, count: 100) == content(at: 0, count: 100))
    for path in cacheFiles(rig, where: { !$0.hasSuffix(".pieces") }) { truncate(path, 1 << 20) }
    let far = UInt64(2 << 20)
    #expect(try await object.bytes(at: far, count: 100_000) == content(at: far, count: 100_000))
    #expect(rig.metrics.cache.diskErrors.count > 0)
    object.close()
    engine.shutdown()
  }

  @Test("a changed object is another file; the old one is not read for it")
  func versionsDoNotMix() async throws {
    let rig = try EngineRig()
    let versions = try await filledCache(rig)
    let changed = try await rig.put("small", size: Self.small, seed: 9)
    #expect(changed != versions[1])
    let engine = try rig.engine()
    let object = engine.open(changed)
    #expect(
      try await object.bytes(at: 0, count: Self.small)
        == content(at: 0, count: Self.small, seed: 9))
    object.close()
    engine.shutdown()
  }

  @Test("two engines on one cache folder: the second has a folder of its own, both are right")
  func secondOwnerGetsItsOwnFolder() async throws {
    let rig = try EngineRig()
    let version = try await rig.put("object", size: Self.large)
    let first = try rig.engine()
    let second = try rig.engine()
    #expect(first.usage().cacheDirectory != second.usage().cacheDirectory)
    _ = try await readAll(rig, first, [version])
    #expect(try await readAll(rig, second, [version]) == UInt64(Self.large))
    first.shutdown()
    second.shutdown()
    let third = try rig.engine()
    #expect(third.usage().cacheDirectory == first.usage().cacheDirectory)
    #expect(try await readAll(rig, third, [version]) == 0)
    third.shutdown()
  }

  @Test("the size limit holds, files in use stay, and reading goes on")
  func evictionKeepsTheLimit() async throws {
    let rig = try EngineRig()
    let limit: UInt64 = 4 << 20
    var versions: [ObjectVersion] = []
    for index in 0..<12 { versions.append(try await rig.put("object-\(index)", size: 900_000)) }
    let engine = try rig.engine(cacheLimit: limit, eviction: .lru)
    let kept = engine.open(versions[0])
    _ = try await kept.bytes(at: 0, count: 1000)
    for _ in 0..<3 {
      _ = try await readAll(rig, engine, versions)
      // What the disk refused stays in memory; all else is written.
      try await until { !versions.contains { engine.holding(of: $0).isMoving } }
      #expect(engine.usage().diskBytes <= limit)
      var occupied: UInt64 = 0
      for path in cacheFiles(rig, where: { _ in true }) {
        var status = stat()
        if stat(path, &status) == 0 { occupied += UInt64(status.st_blocks) * 512 }
      }
      #expect(occupied <= limit)
    }
    #expect(rig.metrics.cache.evictedFiles.count > 0)
    rig.store.change { $0.fetched = [] }
    #expect(try await kept.bytes(at: 5000, count: 1000) == content(at: 5000, count: 1000))
    #expect(rig.store.fetched.isEmpty, "an open file is not evicted")
    kept.close()
    engine.shutdown()
  }

  @Test("of more than fits, a part stays and is found again; the rest is read past the cache")
  func epochsKeepAPart() async throws {
    let rig = try EngineRig()
    var versions: [ObjectVersion] = []
    for index in 0..<12 { versions.append(try await rig.put("object-\(index)", size: 900_000)) }
    // The pool is too small to stand in for the disk.
    let engine = try rig.engine(memory: 2 << 20, cacheLimit: 6 << 20)
    _ = try await readAll(rig, engine, versions)
    for _ in 0..<3 {
      rig.store.change { $0.fetched = [] }
      _ = try await readAll(rig, engine, versions)
      #expect(engine.usage().diskBytes <= 6 << 20)
      #expect(rig.store.fetched.count <= 8)
    }
    #expect(rig.metrics.cache.cacheBypassedFiles.count > 0)
    engine.shutdown()
  }

  @Test("an object larger than the whole cache is read right, without the disk")
  func largerThanTheCache() async throws {
    let rig = try EngineRig()
    let version = try await rig.put("object", size: 12 << 20)
    let engine = try rig.engine(memory: 4 << 20, cacheLimit: 2 << 20)
    for _ in 0..<2 { _ = try await readAll(rig, engine, [version]) }
    #expect(engine.usage().diskBytes <= 2 << 20)
    engine.shutdown()
  }

  @Test("files of earlier mounts are counted and can be evicted")
  func censusFindsEarlierFiles() async throws {
    let rig = try EngineRig()
    _ = try await filledCache(rig)
    let other = try await rig.put("other", size: 900_000)
    let engine = try rig.engine(cacheLimit: 4 << 20, eviction: .lru)
    try await until { engine.usage().diskFiles >= 2 }
    #expect(engine.usage().diskBytes > UInt64(Self.large))
    _ = try await readAll(rig, engine, [other])
    try await settle(engine)
    #expect(engine.usage().diskBytes <= 4 << 20)
    engine.shutdown()
  }

  @Test("a cache folder that cannot be made is an error that names it")
  func unusableFolder() throws {
    let rig = try EngineRig()
    let path = rig.folder + "/file"
    close(open(path, O_WRONLY | O_CREAT, 0o600))
    let error = #expect(throws: EngineError.self) {
      _ = try ReadEngine(
        store: rig.store,
        configuration: EngineConfiguration(cacheFolder: path + "/cache"), metrics: Metrics(),
        log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }
    #expect(error?.description.contains(path) == true)
  }
}
