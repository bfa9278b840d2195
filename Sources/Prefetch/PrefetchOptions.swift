/// How far to look ahead of readers who have not said what comes next.
public enum FillPolicy: String, Sendable, CaseIterable {
  /// The rest of a data set that is being walked, within a multiple of what was asked for.
  case auto
  /// Nothing.
  case off
  /// Everything, from the start of the mount, as far as the cache has room.
  case all
}

public struct PrefetchOptions: Sendable {
  public var fill = FillPolicy.auto
  /// Bytes filled for each byte that was asked for; `auto` alone.
  public var fillMultiple = FillBudget.usualMultiple
  /// Of an order, bytes fetched ahead of its reader.
  public var orderWindow: UInt64 = 256 << 20

  /// Memory of all orders in force, their text and tables, bytes.
  public var orderMemory = 512 << 20
  /// What is fetched ahead while the disk cache has no room for it, bytes: it stays in memory.
  public var windowInMemory: UInt64 = 64 << 20

  public init() {}
}
