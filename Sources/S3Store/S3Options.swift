public import Credentials
public import Transport

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

  public var variants = S3Variants()
  /// The requester pays for requests and traffic of the bucket.
  public var requesterPays = false
  /// The account that the bucket must belong to, else every request is refused.
  public var expectedOwner: String?
  /// 32 bytes that objects were encrypted with (SSE-C). A secret.
  public var customerKey: [UInt8]?
  /// The tree is shown as it was then, seconds since 1970, by the versions that the bucket keeps.
  public var at: Int64?
  /// Directory buckets of S3 Express are read by sessions; if not, each request is signed with the keys.
  public var usesSessions = true
  /// PEM file for the requests that open sessions.
  public var caBundle: String?
  /// What those requests go over; `nil`: a transport of their own.
  public var credentialsTransport: CredentialsTransport?
  /// What the endpoint is decides where a manifest of this bucket may send to.
  public var peers = PeerPolicy()
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

/// Which of AWS's endpoints is used.
public struct S3Variants: Sendable, Equatable {
  /// IPv6 beside IPv4.
  public var usesDualStack = false
  public var usesFIPS = false
  /// Transfer acceleration, by CloudFront's places.
  public var accelerates = false
  /// Whether an access point's ARN may name another region than the one in use; `nil`: not said, yes.
  public var usesARNRegion: Bool?

  public init() {}
}
