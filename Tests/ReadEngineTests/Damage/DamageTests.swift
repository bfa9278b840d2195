import Credentials
import Glibc
import Logging
import Metrics
import ObjectStore
import Posix
import ReadEngine
import SystemPackage
import TestSupport
import Testing
import Transport

@testable import CatalogStore
@testable import HTTPStore
@testable import S3Store

/// One byte of one answer is wrong, for every store that takes bytes from a network, everything that may stand before
/// it, every way to read and every class of sizes. Where a checksum covers the object the damage is never served and
/// never kept; the table says which are not covered.
///
/// A folder is not in the table: its bytes come from the kernel, which says nothing of them.
@Suite struct DamageTests {
  enum Source: String, CaseIterable, Sendable {
    case s3, site
    /// A site that ignores ranges: large files come through the spool.
    case spooled
  }

  /// What stands before the store.
  enum Wrapper: String, CaseIterable, Sendable {
    case none
    /// A snapshot, or a manifest without other places.
    case catalog
    case catalogWithKeys
    case catalogWithURLs
    /// The bucket as it was (--at): each object by a version of its own.
    case at
  }

  enum Reader: String, CaseIterable, Sendable { case demand, warm, order }

  struct Case: Sendable, CustomStringConvertible {
    var source: Source
    var wrapper: Wrapper
    var statement: Statement
    var description: String { "\(source), \(wrapper), \(statement)" }

    /// Whether a checksum covers an object of this size. None covers what comes in ranges.
    func covers(_ size: Int) -> Bool { statement != .nothing && size <= 1 << 20 }
  }

  /// All pairs that exist: a site states a digest as a hub does, or nothing.
  static let cases: [Case] = Source.allCases.flatMap { source in
    Wrapper.allCases.flatMap { wrapper in
      Statement.allCases.compactMap { statement -> Case? in
        let isSite = source != .s3 || wrapper == .catalogWithURLs
        if isSite != [.linked, .nothing].contains(statement), statement != .nothing { return nil }
        if wrapper == .at, source != .s3 { return nil }
        // An object elsewhere is fetched from a site, whatever the mounted store is.
        if wrapper == .catalogWithURLs, source == .spooled { return nil }
        return Case(source: source, wrapper: wrapper, statement: statement)
      }
    }
  }

  /// One piece, several, and more than is verified as a whole.
  static let sizes = [100_000, 900_000, 1_200_000]

  @Test("damage is neither served nor kept where a checksum covers the object", arguments: cases)
  func damage(_ pair: Case) async throws {
    let rig = try DamageRig(pair)
    let names = Reader.allCases.flatMap { reader in
      ["once", "always", "never"].flatMap { mode in
        Self.sizes.map { "\(mode)-\(reader)-\($0)" }
      }
    }
    var engine = try rig.engine()
    try await withThrowingTaskGroup(of: Void.self) { group in
      for name in names {
        group.addTask { [engine] in
          let bytes = try await rig.read(name, engine)
          let size = DamagingServer.size(of: name)
          if name.hasPrefix("never") || (pair.covers(size) && name.hasPrefix("once")) {
            #expect(bytes == DamagingServer.bytes(of: name), "\(name) of \(pair)")
          } else if pair.covers(size) {
            #expect(bytes == nil, "\(name) of \(pair) was served")
          }
        }
      }
      try await group.waitForAll()
    }
    engine.shutdown()
    let verified = rig.metrics.store.objectsVerified.count
    #expect((verified > 0) == pair.covers(1), "\(verified) objects verified of \(pair)")
    #expect((rig.metrics.store.checksumMismatches.count > 0) == pair.covers(1))

    // After a restart the store is intact: what is wrong now was kept.
    rig.server.repair()
    engine = try rig.engine()
    for name in names where pair.covers(DamagingServer.size(of: name)) {
      let object = engine.open(rig.version(name))
      let bytes = try await object.bytes(at: 0, count: DamagingServer.size(of: name))
      #expect(bytes == DamagingServer.bytes(of: name), "\(name) of \(pair) was kept damaged")
      object.close()
    }
    engine.shutdown()
  }

  @Test func cachesOfCatalogsThatKeptDamageAreNotMet() throws {
    let rig = try DamageRig(Case(source: .s3, wrapper: .catalogWithKeys, statement: .crc32c))
    #expect(rig.store.identity.hasSuffix(" by list, verified"))
  }
}

/// A store before a server that damages, with a cache folder.
final class DamageRig: Sendable {
  let server: DamagingServer
  let store: any ObjectStore
  let metrics = Metrics()
  private let pair: DamageTests.Case
  private let folder: TemporaryFolder

  init(_ pair: DamageTests.Case) throws {
    self.pair = pair
    folder = try TemporaryFolder("damage")
    server = DamagingServer(pair.statement, ignoresRanges: pair.source == .spooled)
    let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    let (metrics, folder) = (self.metrics.store, self.folder)
    func transport() -> Transport {
      Transport(configuration: TransportConfiguration(), metrics: metrics, log: log)
    }
    let url = "http://127.0.0.1:\(server.port)/data/"
    let base: any ObjectStore
    switch pair.source {
    case .s3:
      var options = S3Options(
        bucket: "data", endpointURL: "http://127.0.0.1:\(server.port)", region: "us-east-1")
      options.verifiesETag = pair.statement == .md5
      base = try S3Store(
        options: options, credentials: FixedCredentials(nil), transport: transport(),
        metrics: metrics)
    case .site, .spooled:
      var options = HTTPStoreOptions()
      options.spool = SpoolAllowance(folder: folder.path)
      base = try HTTPStore(url: url, options: options, transport: transport(), metrics: metrics)
    }
    switch pair.wrapper {
    case .none, .at: store = base
    case .catalog, .catalogWithKeys, .catalogWithURLs:
      var builder = CatalogBuilder()
      for reader in DamageTests.Reader.allCases {
        for mode in ["once", "always", "never"] {
          for size in DamageTests.sizes {
            let name = "\(mode)-\(reader)-\(size)"
            let target: Catalog.Target? =
              switch pair.wrapper {
              case .catalogWithKeys: .key(ObjectKey("elsewhere/\(name)"))
              case .catalogWithURLs: .url("\(url)elsewhere/\(name)?signature=1")
              default: nil
              }
            builder.add(
              key: Array(name.utf8), size: UInt64(size), modified: nil,
              etag: Array(DamagingServer.etag(of: name, pair.statement).utf8), target: target)
          }
        }
      }
      store = CatalogStore(try Catalog(builder), over: base, name: "list") {
        origin throws(StoreError) in
        var options = HTTPStoreOptions()
        options.keysAreTargets = true
        return try HTTPStore(
          url: origin, options: options,
          transport: Transport(
            configuration: TransportConfiguration(), metrics: metrics, log: log),
          metrics: metrics)
      }
    }
  }

  deinit {
    store.shutdown()
    server.stop()
  }

  func engine() throws -> ReadEngine {
    try ReadEngine(
      store: store,
      configuration: EngineConfiguration(
        memoryLimit: 64 << 20, cacheFolder: folder.path + "/cache", freeSpaceFloor: 0,
        ioTimeout: .seconds(60)),
      metrics: metrics, log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
  }

  func version(_ name: String) -> ObjectVersion {
    let etag = DamagingServer.etag(of: name, pair.statement)
    let tag = VersionTag(etag: etag, version: pair.wrapper == .at ? "v1" : nil)
    return ObjectVersion(
      key: ObjectKey(name), etag: tag.text, size: UInt64(DamagingServer.size(of: name)),
      modified: 0)
  }

  /// nil: the reader got an error.
  func read(_ name: String, _ engine: ReadEngine) async throws -> [UInt8]? {
    let version = version(name)
    if !name.contains("demand") {
      let rank: FetchRank = name.contains("warm") ? .fill : .planned
      let outcome = await withCheckedContinuation { continuation in
        engine.prefetch(version, rank) { continuation.resume(returning: $0) }
      }
      // A reader after it would fetch what this did not: what it left behind counts.
      if case .failed = outcome { return nil }
    }
    let object = engine.open(version)
    defer { object.close() }
    var bytes: [UInt8] = []
    while bytes.count < version.size {
      guard let more = try? await object.bytes(at: UInt64(bytes.count), count: 1 << 20) else {
        return nil
      }
      bytes += more
    }
    return bytes
  }
}
