/// What `update` found. Paths are relative to the mount.
public struct UpdateReport: Sendable, Codable {
  /// What happened to a file.
  public enum Kind: String, Sendable, Codable { case added, changed, removed }

  /// One file.
  public struct Change: Sendable, Codable, Equatable {
    /// What happened to it.
    public var kind: Kind
    /// Relative to the mount.
    public var path: String
    /// Bytes; of what is there now.
    public var size: UInt64?
    /// `size`: nil if there is none now, or it is not known.
    public init(kind: Kind, path: String, size: UInt64?) {
      self.kind = kind
      self.path = path
      self.size = size
    }
  }

  /// Kept in the report: a tree that changed all over is better listed anew.
  public static let changeLimit = 1_000_000

  /// Directories that were listed.
  public var directories = 0
  /// Files that are new.
  public var added = 0
  /// Files that have another version.
  public var changed = 0
  /// Files that are gone.
  public var removed = 0
  /// Files, in no order; at most `changeLimit`.
  public var changes: [Change] = []
  /// Directories that could not be listed, and why.
  public var failures: [String] = []
  /// Of no directory.
  public init() {}

  mutating func add(_ kind: Kind, _ path: String, _ size: UInt64?) {
    switch kind {
    case .added: added += 1
    case .changed: changed += 1
    case .removed: removed += 1
    }
    if changes.count < Self.changeLimit {
      changes.append(Change(kind: kind, path: path, size: size))
    }
  }
}
