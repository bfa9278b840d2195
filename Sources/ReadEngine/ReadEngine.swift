/// Bytes: what is open, what is in memory or on disk, what to fetch next, what to evict.
///
/// The file system opens versions here; the front end reads them. Nothing here waits for the
/// network on the caller's thread.
public import Logging
public import Metrics
public import ObjectStore

public final class ReadEngine: Sendable {
  public init(
    store: any ObjectStore, configuration: EngineConfiguration, metrics: Metrics, log: Logger
  ) throws(EngineError) {
    fatalError("not built yet")
  }

  /// Opens one version for reading. Cheap: the store is not asked. Every open is closed by `close`.
  public func open(_ version: ObjectVersion) -> OpenObject { fatalError("not built yet") }

  /// Called for an object that the store no longer has in this version, once for each version,
  /// on a thread of the engine's, no lock held.
  public func onChanged(_ handler: @escaping @Sendable (ObjectVersion) -> Void) {}

  /// The state of the tiers now, for stats.
  public func usage() -> EngineUsage { fatalError("not built yet") }

  /// Ends every parked read (EIO), finishes what is being written, syncs the cache, stops threads.
  public func shutdown() {}
}

/// Why the engine could not start. The message is one line for the user.
public struct EngineError: Error, Sendable, CustomStringConvertible {
  public var description: String
  public init(_ description: String) { self.description = description }
}

/// The state of the tiers, bytes unless the name says otherwise.
public struct EngineUsage: Sendable, Codable {
  public var memoryBytes: Int = 0
  public var memoryLimit: Int = 0
  public var diskBytes: UInt64 = 0
  public var diskLimit: UInt64 = 0
  public var diskFiles: Int = 0
  public var openObjects: Int = 0
  public var parkedReads: Int = 0
  public var fetchesInFlight: Int = 0
  public init() {}
}
