public import ObjectStore

/// What the names of a mount go by.
public struct FileSystemOptions: Sendable {
  /// For how long a name, its absence and its attributes are taken as they were last seen.
  public var metadataTTL: Duration
  /// Bytes that listings and nodes may occupy; listings not in use go first.
  public var metadataLimit: Int
  /// Bytes that the names of one folder may occupy while it is listed: a folder larger than `metadataLimit` can be
  /// listed, and a store that never comes to an end is stopped.
  public var listingLimit: Int { 4 * metadataLimit }
  /// A name that is not answered by then fails with EIO.
  public var ioTimeout: Duration

  /// A file in which listings are kept for the next mount; nil: they are not.
  public var listingsFile: ListingsFile?
  /// What names and versions are fixed by, "snapshot v1": they never change, whatever the store does.
  public var frozenBy: String?
  /// Where validators end in `AccessRights`: those of the root, now. Must not block. nil: they do not.
  public var rootRights: (@Sendable () -> AccessRights?)?
  /// A test moves them by hand.
  var clocks = MetadataClocks()

  /// Those of a mount whose names and attributes are the store's.
  public init(
    metadataTTL: Duration = .seconds(60), metadataLimit: Int = 512 << 20,
    ioTimeout: Duration = .seconds(600), listingsFile: ListingsFile? = nil,
    frozenBy: String? = nil
  ) {
    self.metadataTTL = metadataTTL
    self.metadataLimit = metadataLimit
    self.ioTimeout = ioTimeout
    self.listingsFile = listingsFile
    self.frozenBy = frozenBy
  }
}
