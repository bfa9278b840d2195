/// What a store says of an object in a listing or a head.
public struct ObjectAttributes: Sendable, Equatable {
  public var key: ObjectKey
  /// Bytes; `nil` where the listing does not know it exactly (an HTML index): ask `head`.
  public var size: UInt64?
  /// Seconds since 1970; `nil` where the store does not say.
  public var modified: Int64?
  /// An opaque validator, compared for equality alone and sent back as it came (quotes included).
  /// Empty where the store has none; identity then is size and time.
  public var etag: String
  /// The object needs a restore before it can be read (S3 GLACIER and DEEP_ARCHIVE).
  public var isArchived: Bool

  public init(
    key: ObjectKey, size: UInt64?, modified: Int64?, etag: String = "", isArchived: Bool = false
  ) {
    self.key = key
    self.size = size
    self.modified = modified
    self.etag = etag
    self.isArchived = isArchived
  }

  /// The version that a read pins, once the size is known.
  public var version: ObjectVersion? {
    size.map { ObjectVersion(key: key, etag: etag, size: $0, modified: modified ?? 0) }
  }
}

/// One version of an object: what an open file is from open to close, and what names a cache file.
public struct ObjectVersion: Hashable, Sendable {
  public var key: ObjectKey
  public var etag: String
  /// Bytes.
  public var size: UInt64
  /// Seconds since 1970, 0 where unknown. Part of the identity only where there is no etag.
  public var modified: Int64

  public init(key: ObjectKey, etag: String, size: UInt64, modified: Int64) {
    self.key = key
    self.etag = etag
    self.size = size
    self.modified = modified
  }

  public static func == (left: ObjectVersion, right: ObjectVersion) -> Bool {
    left.size == right.size && left.etag == right.etag && left.key == right.key
      && (!left.etag.isEmpty || left.modified == right.modified)
  }

  public func hash(into hasher: inout Hasher) {
    hasher.combine(key)
    hasher.combine(etag)
    hasher.combine(size)
    if etag.isEmpty { hasher.combine(modified) }
  }
}
