/// How a bucket is reached. Prefixes are the file system's affair: the store sees absolute keys.
public struct S3Options: Sendable {
  public var bucket: String
  /// "https://host:port[/base]" of a store that is not AWS; `nil`: AWS.
  public var endpointURL: String?
  /// `nil`: us-east-1, and what the store's answers say.
  public var region: String?
  /// Bucket in the path instead of in the host name; `nil`: path style for custom endpoints, the
  /// host name on AWS where the bucket's name allows it.
  public var pathStyle: Bool?
  /// ListObjects of the first generation, for stores that know no other.
  public var usesListV1 = false
  /// Keys in listings are asked for url-encoded. Off for stores that encode wrongly; keys with control
  /// characters then cannot be listed.
  public var encodesListings = true

  /// An ETag that has the form of an MD5 is taken for the content's.
  public var verifiesETag = false

  public init(
    bucket: String, endpointURL: String? = nil, region: String? = nil, pathStyle: Bool? = nil
  ) {
    self.bucket = bucket
    self.endpointURL = endpointURL
    self.region = region
    self.pathStyle = pathStyle
  }
}
