import Glibc
import Logging
import Metrics
import ObjectStore
import Posix
import ReadEngine
import SystemPackage
import Testing

@testable import FileSystem

/// A file system over keys in memory, with clocks that move by hand.
final class NamesRig: Sendable {
  let store: KeyStore
  let metrics = Metrics()
  let engine: ReadEngine
  let files: FileSystem
  let time: Lock<Instant>
  let wall: Lock<Int64>

  init(
    _ store: KeyStore, ttl: Duration = .seconds(60), limit: Int = 1 << 30,
    listingsFile: String? = nil, wall: Int64 = 1_700_000_000_000_000_000
  ) throws {
    self.store = store
    let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    engine = try ReadEngine(
      store: store, configuration: EngineConfiguration(memoryLimit: 16 << 20), metrics: metrics,
      log: log)
    let file = try listingsFile.map { path in
      let slash = path.lastIndex(of: "/")!
      return ListingsFile(
        folder: try PrivateFolder.open(String(path[..<slash])),
        name: String(path[path.index(after: slash)...]))
    }
    let time = Lock(Instant(nanoseconds: 1_000_000_000_000))
    let wallTime = Lock(wall)
    self.time = time
    self.wall = wallTime
    var options = FileSystemOptions(
      metadataTTL: ttl, metadataLimit: limit, listingsFile: file)
    options.clocks = MetadataClocks(
      now: { time.withLock { $0 } }, wallTime: { wallTime.withLock { $0 } })
    files = FileSystem(
      store: store, prefix: .root, engine: engine, options: options, metrics: metrics, log: log)
  }

  deinit {
    files.shutdown()
    engine.shutdown()
  }

  func pass(_ duration: Duration) {
    time.withLock { $0 = $0 + duration }
    wall.withLock { $0 += duration.nanoseconds }
  }

  /// The reply of a call that is answered at once.
  func now<Value: Sendable>(_ start: (@escaping Reply<Value>) -> Void) -> Result<Value, Errno>? {
    let box = Lock<Result<Value, Errno>?>(nil)
    start { result in box.withLock { $0 = result } }
    return box.withLock { $0 }
  }

  func find(_ name: String, in parent: NodeID = FileSystem.root) -> NodeAttributes? {
    let reply: Result<LookupAnswer, Errno>? = now { reply in
      Array(name.utf8).withUnsafeBytes { files.lookup(parent: parent, name: $0, reply: reply) }
    }
    if case .success(.found(let attributes))? = reply { return attributes }
    return nil
  }

  /// Opens a folder; nil while its listing is not there.
  func open(_ node: NodeID) -> OpenFolder? {
    try? now { files.openFolder(node, reply: $0) }?.get()
  }

  /// The names of an open folder, "." and ".." left out; nil if they are not all there yet.
  func names(_ folder: OpenFolder, attributes: OpenFolder.Attributes = .none) -> [String]? {
    let found = Lock<(names: [String], cookie: UInt64)>(([], 0))
    while true {
      let before = found.withLock { $0.cookie }
      let reply: Result<Void, Errno>? = now { done in
        folder.read(
          from: before, attributes: attributes,
          add: { entry in
            let name = String(decoding: entry.name, as: UTF8.self)
            found.withLock { found in
              if name != "." && name != ".." { found.names.append(name) }
              found.cookie = entry.nextCookie
            }
            return true
          }, done: done)
      }
      guard reply != nil else { return nil }
      if found.withLock({ $0.cookie }) == before { return found.withLock { $0.names } }
    }
  }

  func list(_ node: NodeID = FileSystem.root, attributes: OpenFolder.Attributes = .none)
    -> [String]?
  {
    guard let folder = open(node) else { return nil }
    defer { folder.close() }
    return names(folder, attributes: attributes)
  }
}
