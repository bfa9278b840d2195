import Glibc
public import ObjectStore

/// Every limit of the engine in one place. Sizes in bytes.
public struct EngineConfiguration: Sendable {
  /// Blocks of the memory tier, in flight or held: the pool never grows past it.
  public var memoryLimit: Int
  /// The folder of the disk tier; `nil`: memory alone.
  public var cacheFolder: String?
  /// What the cache files of this folder may occupy (st_blocks).
  public var cacheLimit: UInt64
  /// What goes when a tier is full.
  public var eviction: EvictionPolicy
  /// The disk keeps at least this much free, whatever `cacheLimit` allows.
  public var freeSpaceFloor: UInt64
  /// A read that waits longer fails with EIO.
  public var ioTimeout: Duration
  /// Fetches in flight at once over the whole mount.
  public var maxFetches: Int
  /// What a store downloads whole beside the cache files, within `cacheLimit`.
  public var spool: SpoolAllowance?
  /// Of the choice of what goes; nil: any.
  var memorySeed: UInt64?
  /// What an admitted read needs stays in memory. False only where a test plants a bug.
  var protectsReads = true

  public init(
    memoryLimit: Int = 512 << 20, cacheFolder: String? = nil, cacheLimit: UInt64 = .max,
    eviction: EvictionPolicy = .epoch,
    freeSpaceFloor: UInt64 = 1 << 30, ioTimeout: Duration = .seconds(600), maxFetches: Int = 128
  ) {
    self.memoryLimit = memoryLimit
    self.cacheFolder = cacheFolder
    self.cacheLimit = cacheLimit
    self.eviction = eviction
    self.freeSpaceFloor = freeSpaceFloor
    self.ioTimeout = ioTimeout
    self.maxFetches = maxFetches
  }
}

/// What goes first when a tier is full.
///
/// `epoch`: keeps a stable part of data that is read again and again, and lets go of what no longer comes
/// back. `lru`: the least recently used.
public enum EvictionPolicy: String, Sendable, Codable, CaseIterable { case epoch, lru }

extension EvictionPolicy {
  /// Share of what a shuffled epoch opens that is found in a cache of `share` of the data, where nothing else is
  /// known. `epoch` keeps what it holds. Of the least recently used, a file is found if fewer others than
  /// the cache holds come between: for two shuffles one after the other, P = 1 - t + t ln t, t = 1 - share.
  public func foundShare(ofCache share: Double) -> Double {
    if share >= 1 { return 1 }
    if self == .epoch || share <= 0 { return max(0, share) }
    let rest = 1 - share
    return 1 - rest + rest * log(rest)
  }
}
