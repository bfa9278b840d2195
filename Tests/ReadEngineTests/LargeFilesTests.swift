import Metrics
import ObjectStore
import Posix
import Testing

@testable import ReadEngine

/// Large files in a small pool, in an order that names each of them twice.
@Suite struct LargeFilesTests {
  private static let pieces = 64
  private static let size = pieces * Geometry.pieceSize
  private static let files = 10
  private static let readers = 4

  /// Places of the files in this epoch and the next; the first open takes the first place away.
  private final class Order: Sendable {
    private struct State {
      var places: [UInt64: [Int]] = [:]
      var now = 0
    }
    private let state = Lock(State())

    init(_ hashes: [UInt64]) {
      state.withLock { state in
        for (place, hash) in (hashes + hashes.reversed()).enumerated() {
          state.places[hash, default: []].append(place)
        }
      }
    }

    func opened(_ hash: UInt64) {
      state.withLock { state in
        state.places[hash]?.removeFirst()
        state.now += 1
      }
    }

    func distance(of hash: UInt64) -> Int? {
      state.withLock { state in
        guard let places = state.places[hash] else { return nil }
        return places.first.map { max(0, $0 - state.now) } ?? .max
      }
    }
  }

  /// Reads all of a file as the kernel does: a MiB at a time, two of them under way.
  private static func readAll(_ object: OpenObject, seed: UInt8) async throws {
    let step = 1 << 20
    try await withThrowingTaskGroup(of: Void.self) { group in
      for start in stride(from: 0, to: size, by: step) {
        if start >= 2 * step { try await group.next() }
        group.addTask {
          let bytes = try await object.bytes(at: UInt64(start), count: step)
          #expect(bytes.count == step)
          #expect(
            Array(bytes.suffix(8)) == content(at: UInt64(start + step - 8), count: 8, seed: seed))
        }
      }
      try await group.waitForAll()
    }
  }

  @Test func aTwoEpochOrderOfLargeFilesTakesNothingFromTheirReaders() async throws {
    let rig = try EngineRig()
    var versions: [ObjectVersion] = []
    for file in 0..<Self.files {
      versions.append(try await rig.put("\(file)", size: Self.size, seed: UInt8(file)))
    }
    rig.store.change { $0.delay = .milliseconds(10) }
    let engine = try rig.engine(
      memory: 40 * Geometry.pieceSize, cacheLimit: UInt64(Self.size) * 42 / 10,
      ioTimeout: .seconds(120))
    defer { engine.shutdown() }
    let order = Order(versions.map { engine.hash(of: $0) })
    engine.onNextUse { order.distance(of: $0) }
    try await withThrowingTaskGroup(of: Void.self) { group in
      for reader in 0..<Self.readers {
        group.addTask { [versions] in
          for file in stride(from: reader, to: Self.files, by: Self.readers) {
            let object = engine.open(versions[file])
            order.opened(object.hash)
            if file + Self.readers < Self.files {
              engine.prefetch(versions[file + Self.readers], .planned) { _ in }
            }
            try await Self.readAll(object, seed: UInt8(file))
            object.close()
          }
        }
      }
      try await group.waitForAll()
    }
    #expect(rig.metrics.reads.failures.count == 0 && rig.metrics.reads.timeouts.count == 0)
    let data = UInt64(Self.files * Self.size)
    #expect(rig.store.bytesFetched <= data * 12 / 10, "\(rig.store.bytesFetched) of \(data)")
  }
}
