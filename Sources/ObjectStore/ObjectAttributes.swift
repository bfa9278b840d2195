/// What a store says of an object in a listing or a head.
public struct ObjectAttributes: Sendable, Equatable {
  public var key: ObjectKey
  /// Bytes, at most `ObjectSize.limit`; `nil` where the listing does not know it exactly (an HTML index): ask
  /// `head`.
  public private(set) var size: UInt64?
  /// The store states more bytes than can be read; `size` is `nil`, and the object is not shown.
  public private(set) var isOversized: Bool
  /// Seconds since 1970; `nil` where the store does not say, or says what is no date.
  public private(set) var modified: Int64?
  /// An opaque validator, compared for equality alone and sent back as it came (quotes included).
  /// Empty where the store has none; identity then is size and time.
  public var etag: String
  /// The object needs a restore before it can be read (S3 GLACIER and DEEP_ARCHIVE).
  public var isArchived: Bool

  public init(
    key: ObjectKey, size: UInt64?, modified: Int64?, etag: String = "", isArchived: Bool = false
  ) {
    self.key = key
    isOversized = size.map { !ObjectSize.isReadable($0) } ?? false
    self.size = isOversized ? nil : size
    self.modified = ObjectTime.checked(modified)
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
  /// Bytes, never more than `ObjectSize.limit`: what states more has no version.
  public let size: UInt64
  /// Seconds since 1970, 0 where unknown. Part of the identity only where there is no etag.
  public var modified: Int64

  public init(key: ObjectKey, etag: String, size: UInt64, modified: Int64) {
    self.key = key
    self.etag = etag
    self.size = min(size, ObjectSize.limit)
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
