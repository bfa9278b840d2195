import Glibc
import ObjectStore
import Posix
import ReadEngine
import SystemPackage
import Testing

/// A version that was found changed or missing is stale for those who have it open, and for no longer than that is so.
@Suite struct StalenessTests {
  private func failure(_ kind: StoreError.Kind) -> StoreError {
    StoreError(kind, store: "test", detail: "for a test")
  }

  @Test("one 404 of a proxy, while the object is there, is seen by no reader")
  func aPassing404IsNoRemoval() async throws {
    let rig = try EngineRig()
    let version = try await rig.put("object", size: 4 << 20)
    let engine = try rig.engine()
    defer { engine.shutdown() }
    let announced = Lock(0)
    engine.onChanged { _ in announced.withLock { $0 += 1 } }
    let object = engine.open(version)
    defer { object.close() }
    for offset in [0, 2 << 20] as [UInt64] {
      rig.store.change { $0.failures = [failure(.notFound)] }
      let bytes = try await object.bytes(at: offset, count: 1000)
      #expect(bytes == content(at: offset, count: 1000))
    }
    #expect(announced.withLock { $0 } == 0)
  }

  @Test("an object that is gone is ESTALE, once a HEAD has said so too")
  func aRemovedObjectIsStale() async throws {
    let rig = try EngineRig()
    let version = try await rig.put("object", size: 4 << 20)
    let engine = try rig.engine()
    defer { engine.shutdown() }
    let object = engine.open(version)
    defer { object.close() }
    unlink(rig.source + "/object")
    await #expect(throws: Errno.staleNFSFileHandle) { try await object.bytes(at: 0, count: 1000) }
  }

  @Test("a version that is back is readable by the next open, while another still has it open")
  func aVersionThatIsBackIsReadAgain() async throws {
    let rig = try EngineRig()
    let version = try await rig.put("object", size: 4 << 20)
    let engine = try rig.engine()
    defer { engine.shutdown() }
    let first = engine.open(version)
    defer { first.close() }
    let (path, aside) = (rig.source + "/object", rig.source + "/aside")
    #expect(rename(path, aside) == 0)
    await #expect(throws: Errno.staleNFSFileHandle) { try await first.bytes(at: 0, count: 1000) }
    await #expect(throws: Errno.staleNFSFileHandle) { try await first.bytes(at: 0, count: 1000) }
    #expect(rename(aside, path) == 0)
    let second = engine.open(version)
    defer { second.close() }
    #expect(try await second.bytes(at: 0, count: 1000) == content(at: 0, count: 1000))
    #expect(try await first.bytes(at: 2 << 20, count: 9) == content(at: 2 << 20, count: 9))
  }

  @Test("an open of a version that is gone for good asks the store once, and mixes nothing")
  func anOpenOfAGoneVersionStaysStale() async throws {
    let rig = try EngineRig()
    let version = try await rig.put("object", size: 4 << 20)
    let engine = try rig.engine()
    defer { engine.shutdown() }
    let first = engine.open(version)
    defer { first.close() }
    #expect(try await first.bytes(at: 0, count: 1000) == content(at: 0, count: 1000))
    try await rig.put("object", size: 4 << 20, seed: 9)
    for _ in 0..<3 {
      let again = engine.open(version)
      defer { again.close() }
      await #expect(throws: Errno.staleNFSFileHandle) {
        try await again.bytes(at: 2 << 20, count: 1000)
      }
      #expect(try await again.bytes(at: 0, count: 1000) == content(at: 0, count: 1000))
    }
  }

  @Test(
    "a store that gives more or fewer bytes than were asked for is a bad reply, and nothing is kept"
  )
  func aSuccessBringsWhatWasAskedFor() async throws {
    for extra in [-1, 1] {
      let rig = try EngineRig()
      let version = try await rig.put("object", size: 300_000)
      let engine = try rig.engine()
      let object = engine.open(version)
      rig.store.change { $0.miscount = extra }
      // With more the bytes themselves were right, and a reader may have had them before the end.
      let bytes = try? await object.bytes(at: 0, count: 300_000)
      if extra < 0 { #expect(bytes == nil) }
      object.close()
      engine.shutdown()
      #expect(files(under: rig.cache).allSatisfy { !$0.contains("/objects/") }, "\(extra)")
    }
  }
}
