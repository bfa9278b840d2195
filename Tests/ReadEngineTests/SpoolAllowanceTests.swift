import Logging
import Metrics
import ObjectStore
import ReadEngine
import Testing

/// Files that a store downloads whole share the cache's allowance.
@Suite struct SpoolAllowanceTests {
  @Test func whatIsDownloadedWholeTakesItsSpaceFromTheCache() async throws {
    let rig = try EngineRig()
    let spool = SpoolAllowance(folder: rig.folder, floor: 0)
    var configuration = EngineConfiguration(
      memoryLimit: 32 << 20, cacheFolder: rig.cache, cacheLimit: 10 << 20, freeSpaceFloor: 0)
    configuration.spool = spool
    let engine = try ReadEngine(
      store: rig.store, configuration: configuration, metrics: rig.metrics,
      log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    defer { engine.shutdown() }
    for index in 0..<8 {
      let version = try await rig.put("file\(index)", size: 1 << 20)
      let object = engine.open(version)
      _ = try await object.bytes(at: 0, count: 1 << 20)
      object.close()
    }
    try await until { engine.usage().objectsInUse == 0 }
    #expect(engine.usage().diskBytes >= 8 << 20)
    let space = spool.reserve(6 << 20)
    #expect(space != nil)
    #expect(engine.usage().diskBytes <= 4 << 20)
    #expect(spool.reserve(11 << 20) == nil)
    #expect(engine.room <= 4 << 20)
    _ = consume space
    #expect(spool.use == SpoolAllowance.Use())
  }
}
