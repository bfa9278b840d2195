import ObjectStore
import Posix
import Testing

@testable import ReadEngine

/// Room on the disk that is promised to planned fetches before they are sent.
@Suite struct ReservationTests {
  private func id(_ number: Int) -> FileID { FileID(number: UInt64(number)) }

  /// Files that are opened, planned, written and closed at random: what was reserved can always be written, the sum
  /// of what is used and reserved stays within the limit, and at the end nothing is reserved.
  @Test func whatIsReservedCanBeWrittenAndIsGivenBack() {
    for seed in 0..<200 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      var index = CacheIndex()
      let limit: UInt64 = 10_000
      var opens: [Int: Int] = [:]
      var runs: [(file: Int, left: UInt64)] = []
      for _ in 0..<2000 {
        let file = Int.random(in: 0..<20, using: &random)
        switch Int.random(in: 0..<6, using: &random) {
        case 0:
          if index.open(id(file)) { opens[file, default: 0] += 1 }
        case 1:
          let bytes = UInt64.random(in: 1...2000, using: &random)
          guard index.usedBytes + index.reservedBytes + bytes <= limit else { continue }
          let isReserved = index.reserve(id(file), bytes)
          #expect(isReserved == (opens[file, default: 0] > 0), "seed \(seed)")
          if isReserved { runs.append((file, bytes)) }
        case 2, 3:
          guard let run = runs.indices.randomElement(using: &random) else { continue }
          let bytes = UInt64.random(in: 0...runs[run].left, using: &random)
          #expect(index.covered(id(runs[run].file), bytes) == bytes, "seed \(seed)")
          index.grow(id(runs[run].file), by: bytes)
          runs[run].left -= bytes
        case 4:
          guard let run = runs.indices.randomElement(using: &random) else { continue }
          let isWriting = Bool.random(using: &random)
          index.endReservation(id(runs[run].file), isWriting: isWriting)
          if isWriting { index.wroteAll(id(runs[run].file)) }
          runs.remove(at: run)
        default:
          // A run holds its file open.
          guard opens[file, default: 0] > 0, !runs.contains(where: { $0.file == file }) else {
            continue
          }
          index.close(id(file))
          opens[file]! -= 1
        }
        #expect(index.usedBytes + index.reservedBytes <= limit, "seed \(seed)")
        let reserved = runs.reduce(0) { $0 + $1.left }
        #expect(index.reservedBytes >= reserved, "seed \(seed)")
      }
      for run in runs { index.endReservation(id(run.file), isWriting: false) }
      #expect(index.reservedBytes == 0, "seed \(seed)")
    }
  }

  @Test func aFileThatIsOpenMakesAPlannedFetchWaitUntilItIsClosed() async throws {
    let rig = try EngineRig()
    let first = try await rig.put("first", size: 6 << 20)
    let second = try await rig.put("second", size: 6 << 20)
    let engine = try rig.engine(cacheLimit: 8 << 20)
    defer { engine.shutdown() }
    let hashes = [first, second].map { engine.hash(of: $0) }
    engine.onNextUse(
      { hash in hash == hashes[0] ? .max : hash == hashes[1] ? 1 : nil })
    let called = Lock(0)
    engine.onDiskRoom { called.withLock { $0 += 1 } }
    let reader = engine.open(first)
    for position in stride(from: UInt64(0), to: 6 << 20, by: 1 << 20) {
      _ = try await reader.bytes(at: position, count: 1 << 20)
    }
    try await until { engine.holding(of: first).disk >= 6 << 20 }
    func plan(_ done: @escaping @Sendable (PrefetchOutcome) -> Void = { _ in }) -> Bool {
      engine.prefetchPlanned(
        second, 0..<second.size, inMemory: false, done: done)
    }
    #expect(!plan())
    #expect(engine.holding(of: second).disk == 0 && !engine.isWhole(second))
    reader.close()
    try await until { called.withLock { $0 } > 0 }
    // Its last byte may still be on its way to the disk.
    let outcome = Lock<PrefetchOutcome?>(nil)
    try await until { plan { result in outcome.withLock { $0 = result } } }
    try await until { outcome.withLock { $0 } != nil }
    try await until { engine.isWhole(second) }
    #expect(engine.usage().diskBytes <= 8 << 20)
    #expect(engine.room <= 2 << 20)
  }

  @Test func onlyTheRangeThatIsPlannedIsFetched() async throws {
    let rig = try EngineRig()
    let version = try await rig.put("large", size: 8 << 20)
    let engine = try rig.engine()
    defer { engine.shutdown() }
    for (range, whole) in [
      (0..<UInt64(3 << 20), UInt64(3 << 20)), (UInt64(3 << 20)..<UInt64(5 << 20), UInt64(5 << 20)),
    ] {
      let outcome = Lock<PrefetchOutcome?>(nil)
      #expect(
        engine.prefetchPlanned(version, range, inMemory: false) { result in
          outcome.withLock { $0 = result }
        })
      try await until { outcome.withLock { $0 } != nil }
      guard case .fetched(let bytes) = outcome.withLock({ $0 }) else {
        Issue.record("the fetch failed")
        return
      }
      #expect(bytes == range.upperBound - range.lowerBound)
      try await until { !engine.holding(of: version).isMoving }
      #expect(rig.store.bytesFetched == whole)
    }
    #expect(engine.readPosition(of: version) == nil)
    let reader = engine.open(version)
    _ = try await reader.bytes(at: 1 << 20, count: 1 << 20)
    #expect(engine.readPosition(of: version) == 2 << 20)
    reader.close()
  }

  @Test func whatIsReadAgainSoonerTakesThePlaceOfWhatIsReadLater() async throws {
    let rig = try EngineRig()
    let old = try await rig.put("old", size: 4 << 20)
    let late = try await rig.put("late", size: 4 << 20)
    let soon = try await rig.put("soon", size: 4 << 20)
    let engine = try rig.engine(cacheLimit: 6 << 20)
    defer { engine.shutdown() }
    let hashes = [old, late, soon].map { engine.hash(of: $0) }
    // All of them are read now; then the old one comes again after 50 others.
    let uses = [50, 100, 20]
    engine.onNextUse(
      { hash in hashes.firstIndex(of: hash).map { $0 == 0 ? uses[0] : 0 } },
      after: { hash in hashes.firstIndex(of: hash).map { uses[$0] } })
    func read(_ version: ObjectVersion) async throws {
      let file = engine.open(version)
      for position in stride(from: UInt64(0), to: version.size, by: 1 << 20) {
        _ = try await file.bytes(at: position, count: 1 << 20)
      }
      try await until { !engine.holding(of: version).isMoving }
      file.close()
    }
    try await read(old)
    #expect(engine.isWhole(old))
    // It is read past the cache.
    try await read(late)
    #expect(engine.isWhole(old) && !engine.isWhole(late))
    _ = engine.evict(late)
    try await read(soon)
    try await until { engine.isWhole(soon) }
    #expect(engine.holding(of: old).disk == 0)
  }
}
