import Glibc
import Metrics
import ObjectStore
import Posix
import ReadEngine
import SystemPackage
import Testing

@Suite(.serialized)
struct ReadEngineTests {
  static let piece = 128 << 10

  @Test(
    "every size around a piece and around the small-object limit reads as written",
    arguments: [
      0, 1, 4095, piece - 1, piece, piece + 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1,
      5 * piece + 77,
    ], [true, false])
  func sizesAroundTheLimits(size: Int, disk: Bool) async throws {
    let rig = try EngineRig()
    let version = try await rig.put("object", size: size)
    let engine = try rig.engine(disk: disk)
    defer { engine.shutdown() }
    let object = engine.open(version)
    for _ in 0..<2 {
      #expect(try await object.bytes(at: 0, count: size + 100) == content(at: 0, count: size))
    }
    #expect(try await object.bytes(at: UInt64(size), count: 10).isEmpty)
    #expect(try await object.bytes(at: UInt64(size) + 5000, count: 10).isEmpty)
    object.close()
  }

  @Test("random reads from many tasks are right, with and without a disk, with little memory")
  func randomReads() async throws {
    let seed = UInt64.random(in: 0...UInt64.max)
    for (disk, memory) in [(true, 32 << 20), (false, 32 << 20), (true, 2 << 20), (false, 2 << 20)] {
      let rig = try EngineRig()
      let size = 6 << 20
      let version = try await rig.put("object", size: size)
      let engine = try rig.engine(memory: memory, disk: disk)
      defer { engine.shutdown() }
      try await withThrowingTaskGroup(of: Void.self) { group in
        for task in 0..<16 {
          let object = engine.open(version)
          group.addTask {
            defer { object.close() }
            var random = SeededGenerator(seed: seed &+ UInt64(task))
            for _ in 0..<25 {
              let offset = UInt64.random(in: 0..<UInt64(size), using: &random)
              let count = Int.random(in: 1...(1 << 20), using: &random)
              let expected = content(at: offset, count: min(count, size - Int(offset)))
              let bytes = try await object.bytes(at: offset, count: count)
              #expect(bytes == expected, "seed \(seed), disk \(disk), at \(offset) + \(count)")
            }
          }
        }
        try await group.waitForAll()
      }
    }
  }

  @Test("a second engine on the same folder reads without asking the store")
  func whatIsOnDiskIsNotFetchedAgain() async throws {
    let rig = try EngineRig()
    let sizes = [1, 70_000, 900_000, 7 << 20]
    var versions: [ObjectVersion] = []
    for size in sizes { versions.append(try await rig.put("object-\(size)", size: size)) }
    for round in 0..<2 {
      let engine = try rig.engine()
      for (version, size) in zip(versions, sizes) {
        let object = engine.open(version)
        var read: [UInt8] = []
        while read.count < size {
          read += try await object.bytes(at: UInt64(read.count), count: 1 << 20)
        }
        #expect(read == content(at: 0, count: size))
        object.close()
      }
      engine.shutdown()
      if round == 0 { rig.store.change { $0.fetched = [] } }
    }
    #expect(rig.store.fetched.isEmpty)
  }

  @Test("many readers of the same bytes cause one fetch")
  func fetchesAreJoined() async throws {
    let rig = try EngineRig()
    let version = try await rig.put("object", size: 500_000)
    let engine = try rig.engine()
    defer { engine.shutdown() }
    rig.store.change { $0.isClosed = true }
    let object = engine.open(version)
    try await withThrowingTaskGroup(of: [UInt8].self) { group in
      for _ in 0..<20 { group.addTask { try await object.bytes(at: 1000, count: 5000) } }
      try await until { rig.metrics.reads.parked.current >= 20 }
      rig.store.open()
      for try await bytes in group { #expect(bytes == content(at: 1000, count: 5000)) }
    }
    #expect(rig.store.fetched.count == 1)
    object.close()
  }

  @Test("a random read fetches its own pieces and nothing more")
  func randomReadsAreExact() async throws {
    let rig = try EngineRig()
    let version = try await rig.put("object", size: 64 << 20)
    let engine = try rig.engine()
    defer { engine.shutdown() }
    let object = engine.open(version)
    for offset in [40 << 20, 3 << 20, 22 << 20, 60 << 20] {
      _ = try await object.bytes(at: UInt64(offset) + 100, count: 4096)
    }
    #expect(rig.store.fetched.map(\.count) == [Self.piece, Self.piece, Self.piece, Self.piece])
    object.close()
  }

  @Test("a sequence is fetched once, in ranges that grow")
  func sequencesAreReadAhead() async throws {
    let rig = try EngineRig()
    let size = 48 << 20
    let version = try await rig.put("object", size: size)
    let engine = try rig.engine(memory: 128 << 20)
    defer { engine.shutdown() }
    let object = engine.open(version)
    var position = 0
    while position < size {
      let bytes = try await object.bytes(at: UInt64(position), count: Self.piece)
      #expect(bytes == content(at: UInt64(position), count: bytes.count))
      position += bytes.count
    }
    #expect(rig.store.bytesFetched == UInt64(size))
    #expect(rig.store.fetched.count < 48)
    object.close()
  }

  @Test("an object that changed gives ESTALE for what is missing, and is announced once")
  func changedObjectsAreStale() async throws {
    let rig = try EngineRig()
    let version = try await rig.put("object", size: 4 << 20)
    let engine = try rig.engine()
    defer { engine.shutdown() }
    let announced = Lock<[ObjectVersion]>([])
    engine.onChanged { version in announced.withLock { $0.append(version) } }
    let object = engine.open(version)
    let first = try await object.bytes(at: 0, count: 1000)
    try await rig.put("object", size: 4 << 20, seed: 7)
    await #expect(throws: Errno.staleNFSFileHandle) {
      try await object.bytes(at: 2 << 20, count: 1000)
    }
    await #expect(throws: Errno.staleNFSFileHandle) {
      try await object.bytes(at: 3 << 20, count: 1000)
    }
    #expect(try await object.bytes(at: 0, count: 1000) == first, "what is here stays readable")
    #expect(announced.withLock { $0 } == [version])
    object.close()
  }

  @Test("a failed fetch is EIO, remembered briefly, and asked for again after that")
  func failuresAreRememberedBriefly() async throws {
    let rig = try EngineRig()
    let version = try await rig.put("object", size: 4 << 20)
    let engine = try rig.engine()
    defer { engine.shutdown() }
    let object = engine.open(version)
    rig.store.change { $0.failures = [failure(.serverFailure)] }
    await #expect(throws: Errno.ioError) { try await object.bytes(at: 0, count: 1000) }
    await #expect(throws: Errno.ioError) { try await object.bytes(at: 0, count: 1000) }
    #expect(rig.store.fetched.count == 1, "the second try was answered from memory")
    var bytes: [UInt8]?
    while bytes == nil {
      try await Task.sleep(for: .milliseconds(50))
      bytes = try? await object.bytes(at: 0, count: 1000)
    }
    #expect(bytes == content(at: 0, count: 1000))
    object.close()
  }

  @Test("a fetch that breaks off keeps what had come, and readers get the rest by another")
  func brokenFetchesKeepWhatCame() async throws {
    let rig = try EngineRig()
    for (size, breakAt) in [(4 << 20, 300_000), (900_000, 500_000)] {
      let version = try await rig.put("object-\(size)", size: size)
      let engine = try rig.engine()
      let object = engine.open(version)
      rig.store.change { $0.failAfter = (breakAt, failure(.serverFailure)) }
      await #expect(throws: Errno.ioError) { try await object.bytes(at: 0, count: 800_000) }
      var bytes: [UInt8]?
      while bytes == nil {
        try await Task.sleep(for: .milliseconds(50))
        bytes = try? await object.bytes(at: 0, count: 800_000)
      }
      #expect(bytes == content(at: 0, count: 800_000))
      object.close()
      engine.shutdown()
    }
  }

  @Test("a read that the store never answers ends with EIO")
  func readsTimeOut() async throws {
    let rig = try EngineRig()
    let version = try await rig.put("object", size: 100)
    let engine = try rig.engine(ioTimeout: .milliseconds(300))
    rig.store.change { $0.isClosed = true }
    let object = engine.open(version)
    await #expect(throws: Errno.ioError) { try await object.bytes(at: 0, count: 100) }
    #expect(rig.metrics.reads.timeouts.count == 1)
    rig.store.open()
    object.close()
    engine.shutdown()
  }

  @Test("shutting down ends reads that wait")
  func shutdownEndsParkedReads() async throws {
    let rig = try EngineRig()
    let version = try await rig.put("object", size: 100)
    let engine = try rig.engine()
    rig.store.change { $0.isClosed = true }
    let object = engine.open(version)
    async let bytes = object.bytes(at: 0, count: 100)
    try await until { rig.metrics.reads.parked.current >= 1 }
    engine.shutdown()
    do {
      _ = try await bytes
      Issue.record("the read should have failed")
    } catch { #expect(error as? Errno == .ioError) }
    rig.store.open()
    object.close()
  }

  @Test("memory stays within its limit and all of it is free in the end")
  func memoryComesToRest() async throws {
    let rig = try EngineRig()
    let size = 40 << 20
    let version = try await rig.put("object", size: size)
    let engine = try rig.engine(memory: 4 << 20)
    try await withThrowingTaskGroup(of: Void.self) { group in
      for reader in 0..<8 {
        let object = engine.open(version)
        group.addTask {
          defer { object.close() }
          var position = (reader * size / 8) & ~(Self.piece - 1)
          for _ in 0..<160 {
            let bytes = try await object.bytes(at: UInt64(position), count: Self.piece)
            #expect(bytes == content(at: UInt64(position), count: bytes.count))
            position = (position + Self.piece) % size
          }
        }
      }
      try await group.waitForAll()
    }
    #expect(rig.metrics.cache.memoryBytes.peak <= 4 << 20)
    try await until { engine.usage().objectsInUse == 0 }
    #expect(rig.metrics.cache.memoryBytes.current == 0)
    engine.shutdown()
  }
}

func failure(_ kind: StoreError.Kind) -> StoreError {
  StoreError(kind, store: "test", detail: "made to fail")
}
