import ObjectStore

/// What an error answer means: the whole table in one pure function.
enum S3Reaction: Equatable {
  case fail(StoreError.Kind, String, advice: String)
  case retry(StoreError.Kind, isThrottle: Bool)
  /// The bucket is in this region (checked for form).
  case learnRegion(String)
  case correctClock(serverTime: Int64)
  /// The keys are worth nothing any more; the words are for a provider that has no others.
  case renewKeys(String, advice: String)

  enum Subject {
    case object
    /// An object by its version id: a permission of its own.
    case version
    case listing
  }

  static func to(
    _ failure: S3Failure, subject: Subject, isSigned: Bool, region: String, isAWS: Bool
  ) -> S3Reaction {
    if let learned = otherRegion(failure, than: region) { return .learnRegion(learned) }
    if failure.code == "RequestTimeTooSkewed", let time = failure.serverTime {
      return .correctClock(serverTime: time)
    }
    return byCode(failure, subject: subject, isSigned: isSigned, region: region)
      ?? byStatus(failure, subject: subject, isSigned: isSigned, isAWS: isAWS)
  }

  /// A redirect, or a complaint that a wrong region can be the cause of, that names another one.
  private static func otherRegion(_ failure: S3Failure, than region: String) -> String? {
    let isAboutRegion =
      (300..<400).contains(failure.status)
      || [
        "AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException",
      ]
      .contains(failure.code) || (failure.status == 400 && failure.code.isEmpty)
    guard isAboutRegion, failure.status != 304 else { return nil }
    let named = failure.region ?? failure.endpoint.flatMap(regionOfAWSHost)
    guard let named, named != region, BucketAddress.isRegion(named) else { return nil }
    return named
  }

  /// "bucket.s3.eu-west-1.amazonaws.com" and "s3-eu-west-1.amazonaws.com".
  static func regionOfAWSHost(_ host: String) -> String? {
    let labels = host.split(separator: ".").map(String.init)
    guard let end = labels.lastIndex(of: "amazonaws"), end > 0 else { return nil }
    let last = labels[end - 1]
    if last.hasPrefix("s3-") { return String(last.dropFirst(3)) }
    return end > 1 && labels[end - 2] == "s3" ? last : nil
  }

  private static func byCode(
    _ failure: S3Failure, subject: Subject, isSigned: Bool, region: String
  ) -> S3Reaction? {
    switch failure.code {
    case "NoSuchBucket", "InvalidBucketName":
      return .fail(
        .noSuchStore, "the bucket does not exist (\(failure.words))",
        advice: "check its name and --endpoint-url")
    case "NoSuchKey", "NoSuchVersion":
      return .fail(.notFound, "no such object", advice: "")
    case "AccessDenied", "AllAccessDisabled", "AccountProblem":
      return denied(failure, subject, isSigned: isSigned)
    case "InvalidAccessKeyId":
      return .renewKeys(
        "unknown access key (\(failure.words))",
        advice:
          "check the credentials and that they belong to this store (--profile, --endpoint-url)")
    case "SignatureDoesNotMatch":
      return .fail(
        .badCredentials,
        "signature mismatch: the secret key does not match the access key (\(failure.words))",
        advice: "check the secret key and --region")
    case "ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired":
      return .renewKeys(
        "the session credentials have expired (\(failure.words))",
        advice: "get new credentials and mount again")
    case "InvalidToken", "InvalidSecurity":
      return .renewKeys(
        "the store rejects the session token (\(failure.words))",
        advice: "check AWS_SESSION_TOKEN: it belongs to one access key")
    case "AuthorizationHeaderMalformed":
      return .fail(
        .badCredentials, "the store rejects the signature's form (\(failure.words))",
        advice: "check --region (now \(region))")
    case "RequestTimeTooSkewed":
      return .fail(
        .badCredentials, "the clock of this machine is wrong (\(failure.words))",
        advice: "set the clock"
      )
    case "InvalidObjectState":
      return .fail(
        .archived, "the object is archived (\(failure.words))",
        advice: "restore it first (aws s3api restore-object), then open it again")
    case "SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded",
      "TooManyRequests", "BandwidthLimitExceeded", "RequestThrottled":
      return .retry(.throttled, isThrottle: true)
    case "InternalError", "RequestTimeout", "ServiceUnavailable", "OperationAborted":
      return .retry(.serverFailure, isThrottle: failure.code == "ServiceUnavailable")
    default: return nil
    }
  }

  private static func byStatus(
    _ failure: S3Failure, subject: Subject, isSigned: Bool, isAWS: Bool
  ) -> S3Reaction {
    switch failure.status {
    case 412, 416: return .fail(.changed, "the object changed in the store", advice: "")
    case 404 where subject != .listing: return .fail(.notFound, "no such object", advice: "")
    case 404:
      return .fail(
        .noSuchStore, "the bucket does not exist (\(failure.words))",
        advice: "check its name and --endpoint-url")
    case 401, 403: return denied(failure, subject, isSigned: isSigned)
    // Some stores call an unsigned request malformed instead of refused.
    case 400 where !isSigned: return denied(failure, subject, isSigned: isSigned)
    case 429, 503: return .retry(.throttled, isThrottle: true)
    case 408, 500, 502, 504: return .retry(.serverFailure, isThrottle: false)
    case 300..<400:
      let place = failure.endpoint.map { " at \($0)" } ?? " elsewhere"
      return .fail(
        .noSuchStore, "the bucket is\(place) (\(failure.words))",
        advice: isAWS ? "name its --region" : "check --endpoint-url and --region")
    case 400 where failure.code.isEmpty && isSigned:
      return .renewKeys(
        "the store rejects the request (\(failure.words))",
        advice: "the credentials may have expired or belong to another region")
    case 405, 501:
      return .fail(
        .unsupported, "this is not an S3 endpoint (\(failure.words))",
        advice: "check --endpoint-url")
    default:
      return .fail(
        .badReply, "unexpected response (\(failure.words))",
        advice: isAWS ? "" : "check --endpoint-url"
      )
    }
  }

  private static func denied(
    _ failure: S3Failure, _ subject: Subject, isSigned: Bool
  ) -> S3Reaction {
    .fail(
      .accessDenied, "access denied (\(failure.words))",
      advice: isSigned
        ? "the credentials need \(action(for: subject))"
        : "the bucket is not public: omit --no-sign-request and provide credentials")
  }

  /// The IAM action that a request takes.
  private static func action(for subject: Subject) -> String {
    switch subject {
    case .listing: "s3:ListBucket on the bucket (with --at: s3:ListBucketVersions)"
    case .object:
      "s3:GetObject on the bucket's objects (and kms:Decrypt, if they are encrypted with SSE-KMS)"
    case .version:
      "s3:GetObjectVersion on the bucket's objects (and kms:Decrypt, if they are encrypted with SSE-KMS)"
    }
  }
}
