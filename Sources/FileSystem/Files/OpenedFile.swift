public import ObjectStore

/// A file that a process opens.
public struct OpenedFile: Sendable {
  /// The key of its directory, ends in "/" (empty: the root of a store).
  public var folder: ObjectKey
  /// In that directory.
  public var name: [UInt8]
  /// What was opened.
  public var version: ObjectVersion
  /// As `ReadEngine.hash` gives it.
  public var hash: UInt64
}
