public import ObjectStore

/// A part of a directory, in the order of its listing.
public struct FolderSlice: Sendable {
  /// Files whose size is known.
  public var files: [ObjectVersion] = []
  /// Files whose size neither the listing nor the store tells, and why.
  public var failures: [(key: ObjectKey, error: StoreError)] = []
  /// Files that the listing has no size of, where sizes were not to be asked for.
  public var unsized = 0
  /// Keys, which end in "/".
  public var folders: [ObjectKey] = []
  /// Where the next slice starts.
  public var next = 0
  /// Nothing comes after this slice.
  public var isLast = false
}
