import FileSystem
import Glibc
import Logging
import Metrics
import ObjectStore
import Posix
import ReadEngine
import SystemPackage
import TestSupport
import Testing

@testable import Prefetch

/// Sizes that no object has, from each source of them to everything that a mount does with a file.
@Suite(.serialized) struct HostileNumbersTests {
  static let readable: [UInt64] = [
    0, 1, 1 << 31, 1 << 32, 53_660_000_000_000, 1 << 53 - 1, 1 << 53,
  ]
  static let tooLarge = [
    "9007199254740993", "144115188075855872", "4611686018427387904", "9223372036854775807",
    "9223372036854775808", "18446744073709420543", "18446744073709551615", "18446744073709551616",
  ]
  static let unreadable = ["-1", "-9223372036854775808", "", "1e3", "ten"]

  /// Names that sort as they are numbered.
  private static func name(_ number: Int) -> String { "f\(100 + number)" }

  private static var sizes: [String] { readable.map { "\($0)" } + tooLarge + unreadable }

  @Test(arguments: StatedStore.Words.allCases, [false, true])
  func aMountLivesWithEverySize(words: StatedStore.Words, hasDisk: Bool) throws {
    let stated = Dictionary(
      uniqueKeysWithValues: Self.sizes.enumerated().map { (Self.name($0), $1) })
    let rig = try Rig(StatedStore(words, stated), hasDisk: hasDisk)
    defer { rig.shutdown() }
    let before = try Self.residentBytes()
    // Twice: names that are asked for one by one, and names from a listing.
    for isListed in [false, true] {
      if isListed { try expectNames(rig) }
      for (number, size) in Self.readable.enumerated() {
        try expectReadable(rig, Self.name(number), size)
      }
      for number in Self.readable.count..<Self.sizes.count {
        try expectNoFile(
          rig, Self.name(number), isTooLarge: Self.tooLarge.contains(Self.sizes[number]))
      }
    }
    #expect(rig.metrics.metadata.hiddenNames.count >= UInt64(Self.tooLarge.count))
    #expect(rig.metrics.cache.diskErrors.count == 0)
    try expectJobsEnd(rig)
    // A bitmap of all pieces of 2^53 bytes has 16 GiB, a pointer for each of its segments 256 MiB.
    #expect(try Self.residentBytes() - before < 128 << 20)
  }

  private func expectNames(_ rig: Rig) throws {
    let slice = try rig.wait { rig.files.slice(of: .root, from: 0, limit: 100, reply: $0) }
    // Sizes that the listing does not have are asked for.
    #expect(slice.files.map(\.key) == Self.readable.indices.map { ObjectKey(Self.name($0)) })
    // What states no size that can be read is named.
    #expect(
      slice.failures.allSatisfy { failure in !slice.files.contains { $0.key == failure.key } })
  }

  private func expectReadable(_ rig: Rig, _ name: String, _ size: UInt64) throws {
    let found = try #require(try rig.lookup(name), "\(name)")
    #expect(found.size == size)
    let attributes: NodeAttributes = try rig.wait {
      rig.files.attributes(of: found.node, reply: $0)
    }
    #expect(attributes.size == size)
    let state: [UInt8] = try rig.wait { reply in
      Array("user.millrace.state".utf8).withUnsafeBytes {
        rig.files.extendedAttribute(of: found.node, name: $0, reply: reply)
      }
    }
    #expect(!state.isEmpty)
    let file: OpenFile = try rig.wait { rig.files.open(found.node, reply: $0) }
    defer { file.close() }
    for offset in [0, size / 2, size.subtractingSaturated(5000), size, UInt64(Int64.max)] {
      let wanted = min(UInt64(4096), size.subtractingSaturated(offset))
      let bytes = try rig.read(file, at: offset, count: 4096)
      let expected = (0..<wanted).map { StatedStore.byte(at: offset + $0) }
      #expect(bytes == expected, "\(size) at \(offset)")
    }
  }

  /// Hidden where it is too large, an error that names it where nobody can tell how large it is.
  private func expectNoFile(_ rig: Rig, _ name: String, isTooLarge: Bool) throws {
    if isTooLarge {
      #expect(try rig.lookup(name) == nil, "\(name)")
    } else {
      #expect(throws: Errno.ioError, "\(name)") { try rig.lookup(name) }
    }
  }

  private func expectJobsEnd(_ rig: Rig) throws {
    let paths = Self.sizes.indices.map { Array(Self.name($0).utf8) }
    let readable = Self.readable.reduce(0) { $0 + $1 }
    // Without a cache on disk nothing can be pinned.
    let actions = [JobRequest.Action.du, .pin, .unpin, .evict]
    for action in actions where rig.engine.hasDisk || action != .pin {
      let report = try rig.job(JobRequest(action, paths: paths))
      #expect(report.files >= Self.readable.count, "\(action)")
      #expect(report.bytes <= readable)
    }
    // What the cache cannot hold is told of; the rest is there.
    let small = try rig.job(JobRequest(.warm, paths: [paths[0], paths[1]]))
    #expect(small.state == .done)
    if rig.engine.hasDisk {
      let large = try rig.job(JobRequest(.warm, paths: Array(paths[2...])))
      #expect(large.state == .failed && large.failures == paths.count - 2)
    }
    let lines = paths.map { String(decoding: $0, as: UTF8.self) + "\n" }.joined()
    try rig.prefetcher.take(order: Array(lines.utf8), name: "hostile")
    let isLearnt = waitFor(within: .seconds(30)) { () -> Bool? in
      rig.prefetcher.orders.first.map { $0.notFound > 0 } == true ? true : nil
    }
    #expect(isLearnt == true)
    #expect(rig.prefetcher.removeOrder("hostile"))
  }

  /// Many objects of the largest size: their sum is said as the largest number.
  @Test func sumsOfManyLargeFilesStopAtTheLargestNumber() throws {
    let count = 3000
    let sizes = Dictionary(
      uniqueKeysWithValues: (0..<count).map { ("f\(10_000 + $0)", "\(ObjectSize.limit)") })
    let rig = try Rig(StatedStore(.s3, sizes), hasDisk: false)
    defer { rig.shutdown() }
    let report = try rig.job(JobRequest(.du, paths: [[]]))
    #expect(report.filesDone == count && report.failures == 0)
    #expect(report.bytes == .max && report.bytesDone == .max)
    for name in sizes.keys {
      let file: OpenFile = try rig.wait { rig.files.open(try! rig.lookup(name)!.node, reply: $0) }
      file.close()
    }
    #expect(rig.engine.usage().epochBytes == .max)
    #expect(!rig.engine.makeRoom(.max, forLoadBegunAt: rig.engine.beginLoad()))
  }

  /// The largest so far.
  private static func residentBytes() throws -> Int {
    let lines = try readText("/proc/self/status").split(separator: "\n")
    let line = lines.first { $0.hasPrefix("VmHWM:") } ?? ""
    return (Int(line.filter(\.isNumber)) ?? 0) << 10
  }
}

/// A mount without a kernel: names, engine and prefetch over a store.
private final class Rig {
  let metrics = Metrics()
  let engine: ReadEngine
  let files: FileSystem
  let prefetcher: Prefetcher
  private let folder: TemporaryFolder

  init(_ store: StatedStore, hasDisk: Bool) throws {
    folder = try TemporaryFolder("hostile")
    let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    engine = try ReadEngine(
      store: store,
      configuration: EngineConfiguration(
        memoryLimit: 16 << 20, cacheFolder: hasDisk ? folder.path("cache") : nil,
        cacheLimit: 64 << 20, freeSpaceFloor: 0, ioTimeout: .seconds(20)), metrics: metrics,
      log: log)
    files = FileSystem(
      store: store, prefix: .root, engine: engine,
      options: FileSystemOptions(
        listingsFile: ListingsFile(folder: try PrivateFolder.open(folder.path))), metrics: metrics,
      log: log)
    var options = PrefetchOptions()
    options.fill = .off
    prefetcher = Prefetcher(
      fileSystem: files, engine: engine, mountPoint: "/mnt", options: options, metrics: metrics,
      log: log)
  }

  func shutdown() {
    prefetcher.shutdown()
    files.shutdown()
    engine.shutdown()
  }

  func wait<Value: Sendable>(_ start: (@escaping Reply<Value>) -> Void) throws -> Value {
    let answer = Monitor<Result<Value, Errno>?>(nil)
    start { result in answer.signal(all: true) { $0 = result } }
    return try #require(answer.wait(until: .now + .seconds(60)) { $0 }).get()
  }

  func lookup(_ name: String) throws -> NodeAttributes? {
    let answer: LookupAnswer = try wait { reply in
      Array(name.utf8).withUnsafeBytes {
        files.lookup(parent: FileSystem.root, name: $0, reply: reply)
      }
    }
    if case .found(let attributes) = answer { return attributes }
    return nil
  }

  func read(_ file: OpenFile, at offset: UInt64, count: Int) throws -> [UInt8] {
    let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 4096)
    defer { scratch.deallocate() }
    return try wait { (done: @escaping Reply<[UInt8]>) in
      file.object.read(at: offset, count: count, scratch: scratch) { reply in
        done(Self.bytes(reply))
      } park: {
        Parked(done)
      }
    }
  }

  fileprivate static func bytes(_ reply: ReadReply) -> Result<[UInt8], Errno> {
    switch reply {
    case .failure(let error): .failure(error)
    case .data(let parts):
      .success(
        parts.reduce(into: []) { bytes, part in
          bytes += UnsafeRawBufferPointer(start: part.iov_base, count: part.iov_len)
        })
    }
  }

  private final class Parked: ParkedRead {
    private let done: Reply<[UInt8]>
    init(_ done: @escaping Reply<[UInt8]>) { self.done = done }
    func complete(_ reply: ReadReply, _ wait: ReadWait) { done(Rig.bytes(reply)) }
  }

  /// The report of a job at its end.
  func job(_ request: JobRequest) throws -> JobReport {
    let id = try prefetcher.start(request).id
    let ended = waitFor(within: .seconds(60)) { () -> JobReport? in
      prefetcher.job(id).flatMap { $0.state == .running ? nil : $0 }
    }
    return try #require(ended, "the job \(request.action) does not end")
  }
}
