/// What the names of a mount go by.
public struct FileSystemOptions: Sendable {
  /// For how long a name, its absence and its attributes are taken as they were last seen.
  public var metadataTTL: Duration
  /// Bytes that listings and nodes may occupy; listings not in use go first.
  public var metadataLimit: Int
  /// A name that is not answered by then fails with EIO.
  public var ioTimeout: Duration

  /// A file in which listings are kept for the next mount; nil: they are not.
  public var listingsFile: String?
  /// What names and versions are fixed by, "snapshot v1": they never change, whatever the store does.
  public var frozenBy: String?

  public init(
    metadataTTL: Duration = .seconds(60), metadataLimit: Int = 512 << 20,
    ioTimeout: Duration = .seconds(60), listingsFile: String? = nil,
    frozenBy: String? = nil
  ) {
    self.metadataTTL = metadataTTL
    self.metadataLimit = metadataLimit
    self.ioTimeout = ioTimeout
    self.listingsFile = listingsFile
    self.frozenBy = frozenBy
  }
}
