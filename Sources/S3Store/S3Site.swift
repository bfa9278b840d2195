import Credentials
import Crypto
import Formats
import Glibc
import Logging
import ObjectStore
import Posix
import Transport

/// What the requests of one bucket share: where they go, how they are signed, and what answers have taught
/// (region, clock).
final class S3Site: Sendable {
  let displayName: String
  let identity: String

  /// How the store wants to be asked for listings: found out where it answers wrongly.
  struct ListingDialect {
    var usesV1: Bool
    var encodes: Bool
  }

  private struct Learned {
    var endpoint: BucketAddress
    var dialect: ListingDialect
    /// Seconds that the store's clock is ahead of ours.
    var clockOffset: Int64 = 0
  }

  private let learned: Lock<Learned>
  private let credentials: any CredentialsProvider
  private let signer: SigV4Signer
  private let isAWS: Bool
  private let peers: PeerPolicy
  /// What every request carries.
  private let always: [(name: String, value: String)]
  /// What requests for objects carry besides.
  private let forObjects: [(name: String, value: String)]

  init(
    options: S3Options, credentials: any CredentialsProvider,
    log: Logger = Logger(label: "s3", factory: { _ in SwiftLogNoOpLogHandler() })
  ) throws(StoreError) {
    let endpoint = try BucketAddress(options: options)
    displayName = "s3://\(options.bucket)"
    identity = endpoint.identity
    isAWS = endpoint.place == .aws
    peers = options.peers
    learned = Lock(
      Learned(
        endpoint: endpoint,
        dialect: ListingDialect(usesV1: options.usesListV1, encodes: options.encodesListings)))
    var credentials = credentials
    var tokenHeader = "x-amz-security-token"
    if case .zonal = endpoint.kind, options.usesSessions, try credentials.current() != .unsigned {
      credentials = try BucketSession.open(
        url: "\(endpoint.scheme)://\(endpoint.host)", host: endpoint.host,
        region: endpoint.signingRegion, store: displayName, base: credentials,
        caBundle: options.caBundle, transport: options.credentialsTransport, log: log)
      tokenHeader = BucketSession.tokenHeader
    }
    signer = SigV4Signer(service: endpoint.service, tokenHeader: tokenHeader)
    var always: [(name: String, value: String)] = []
    if options.requesterPays { always.append(("x-amz-request-payer", "requester")) }
    if let owner = options.expectedOwner {
      always.append(("x-amz-expected-bucket-owner", owner))
    }
    self.always = always
    forObjects = try Self.encryption(options, endpoint)
    self.credentials = credentials
  }

  /// The headers of SSE-C. The key goes with each request, so never in the clear over a network.
  private static func encryption(
    _ options: S3Options, _ address: BucketAddress
  ) throws(StoreError) -> [(name: String, value: String)] {
    guard let key = options.customerKey else { return [] }
    let store = "s3://\(options.bucket)"
    guard key.count == 32 else {
      throw StoreError(
        .invalidSource, store: store, detail: "an SSE-C key has 32 bytes, this one \(key.count)")
    }
    let host = address.host.prefix { $0 != ":" }
    guard address.scheme == "https" || host == "localhost" || host.hasPrefix("127.") else {
      throw StoreError(
        .invalidSource, store: store, detail: "an SSE-C key is not sent without TLS",
        advice: "give an https --endpoint-url")
    }
    let prefix = "x-amz-server-side-encryption-customer-"
    return [
      (prefix + "algorithm", "AES256"), (prefix + "key", Base64.encode(key)),
      (prefix + "key-md5", Base64.encode(Array(Insecure.MD5.hash(data: key)))),
    ]
  }

  /// What one exchange remembers of its requests, so that each lesson is drawn once.
  struct Attempt {
    fileprivate var region = ""
    /// What the last request was signed with.
    fileprivate var keys: Credentials?
    fileprivate var renewals = 0
    fileprivate var redirects = 0
    fileprivate var clockCorrections = 0
  }

  /// A signed request, once there are credentials; `key` is `nil` for the bucket itself. Query names and values are
  /// raw.
  func request(
    _ method: HTTPRequest.Method, key: ObjectKey?, query: [(name: String, value: [UInt8])] = [],
    headers: [(name: String, value: String)] = [], attempt: inout Attempt
  ) -> NextRequest {
    let current: Credentials?
    do throws(StoreError) {
      switch try credentials.current() {
      case .unsigned: current = nil
      case .keys(let keys): current = keys
      case .renewing(let what, let renewed):
        return .waiting(
          for: renewed,
          cause: error(.badCredentials, key: key, "waiting for credentials: \(what)"))
      }
    } catch { return .failed(error) }
    let (endpoint, offset) = learned.withLock { ($0.endpoint, $0.clockOffset) }
    let path = endpoint.path(key)
    let pairs = query.map {
      (name: PercentEncoding.encode($0.name.utf8), value: PercentEncoding.encode($0.value))
    }
    var url = "\(endpoint.scheme)://\(endpoint.host)\(path)"
    if !pairs.isEmpty {
      url += "?" + pairs.map { "\($0.name)=\($0.value)" }.joined(separator: "&")
    }
    attempt.region = endpoint.region
    let headers = headers + always + (key == nil ? [] : forObjects)
    var request = HTTPRequest(method: method, url: url, headers: headers)
    request.peer = .own(peers)
    request.showsCertificate = true
    attempt.keys = current
    if let current {
      let input = SigningInput(
        method: method.rawValue, host: endpoint.host, path: path, query: pairs,
        headers: headers.filter { $0.name.hasPrefix("x-amz-") },
        time: Int64(time(nil)) + offset)
      request.headers += signer.headers(
        for: input, credentials: current, region: endpoint.signingRegion)
    }
    return .ready(request)
  }

  var dialect: ListingDialect { learned.withLock { $0.dialect } }

  /// The store pages as the first generation does, whatever it was asked for.
  func learnListV1() { learned.withLock { $0.dialect.usesV1 = true } }

  /// The store refused a listing in the form of `dialect`. False: there is no simpler one.
  func simplifyListings(after dialect: ListingDialect) -> Bool {
    learned.withLock { learned in
      // Another listing may have learnt it meanwhile.
      if learned.dialect.encodes != dialect.encodes || learned.dialect.usesV1 != dialect.usesV1 {
        return true
      }
      if learned.dialect.encodes {
        learned.dialect.encodes = false
      } else if !learned.dialect.usesV1 {
        learned.dialect = ListingDialect(usesV1: true, encodes: true)
      } else {
        return false
      }
      return true
    }
  }

  func endRenewals() { credentials.shutdown() }

  /// What to do after an answer that is no success.
  func verdict(
    _ failure: S3Failure, subject: S3Reaction.Subject, key: ObjectKey?, attempt: inout Attempt
  ) -> Verdict {
    var reaction = S3Reaction.to(
      failure, subject: subject, isSigned: attempt.keys != nil, region: attempt.region, isAWS: isAWS
    )
    // The answer to a HEAD has no body to name the reason: its Date tells.
    if failure.status == 403, failure.code.isEmpty, attempt.keys != nil,
      attempt.clockCorrections < 1, let time = failure.serverTime, isFarFromOurs(time)
    {
      reaction = .correctClock(serverTime: time)
    }
    switch reaction {
    case .fail(let kind, let detail, let advice):
      return .failed(error(kind, key: key, detail, advice: advice))
    case .retry(let kind, let isThrottle):
      let cause = error(kind, key: key, "the store responded \(failure.words)")
      return .retry(cause: cause, isThrottle: isThrottle, after: failure.retryAfter)
    case .renewKeys(let detail, let advice):
      if let keys = attempt.keys, attempt.renewals < 2, credentials.renew(insteadOf: keys) {
        attempt.renewals += 1
        return .again
      }
      return .failed(error(.badCredentials, key: key, detail, advice: advice))
    case .learnRegion(let region):
      guard attempt.redirects < 1 else {
        return .failed(
          error(
            .badReply, key: key, "redirect loop between regions (\(failure.words))",
            advice: "name the bucket's --region"))
      }
      attempt.redirects += 1
      learned.withLock { $0.endpoint.region = region }
      return .again
    case .correctClock(let serverTime):
      guard attempt.clockCorrections < 1 else {
        return .failed(
          error(
            .badCredentials, key: key, "the clock of this machine is wrong (\(failure.words))",
            advice: "set the clock"))
      }
      attempt.clockCorrections += 1
      let offset = serverTime.subtractingReportingOverflow(Int64(time(nil)))
      guard isClockTrusted, !offset.overflow, offset.partialValue.magnitude <= Self.offsetLimit
      else {
        return .failed(
          error(
            .badCredentials, key: key,
            "the store's clock and this machine's differ by \(offset.partialValue) s (\(failure.words))",
            advice: isClockTrusted
              ? "set the clock: more than a day is not corrected"
              : "set the clock: the time of a store is not taken from an answer without TLS"))
      }
      learned.withLock { $0.clockOffset = offset.partialValue }
      return .again
    }
  }

  /// Seconds. A clock that is wrong by more needs its owner.
  private static let offsetLimit: UInt64 = 24 * 3600

  /// Anybody on the way can change an answer without TLS, and would get signatures of a time of their choice.
  private var isClockTrusted: Bool {
    let endpoint = learned.withLock { $0.endpoint }
    let host =
      endpoint.host.hasPrefix("[") ? endpoint.host : String(endpoint.host.prefix { $0 != ":" })
    return endpoint.scheme == "https" || PeerPolicy(host: host).isThisMachine
  }

  /// S3 refuses what was signed more than 15 minutes from its own time.
  private static let skewLimit: UInt64 = 10 * 60

  private func isFarFromOurs(_ serverTime: Int64) -> Bool {
    let ours = Int64(time(nil)) + learned.withLock { $0.clockOffset }
    return (ours - serverTime).magnitude > Self.skewLimit
  }

  /// What to do after a transfer that gave no answer.
  func verdict(_ failure: TransferFailure, key: ObjectKey?, failsFast: Bool = false) -> Verdict {
    let kind: StoreError.Kind
    let advice: String
    switch failure.kind {
    case .nameNotResolved, .connectionRefused, .connectTimedOut:
      kind = .unreachable
      advice = "check the network and --endpoint-url"
    case .tls:
      kind = .tls
      advice = "check --ca-bundle and whether the endpoint speaks https"
    case .stalled, .firstByteTimedOut:
      kind = .timedOut
      advice = ""
    case .bodyTooLarge, .malformed, .truncated:
      kind = .badReply
      advice = ""
    case .connectionLost, .bodiesTooLarge, .other:
      kind = .unreachable
      advice = ""
    }
    let cause = error(kind, key: key, failure.detail, advice: advice)
    switch failure.kind {
    case .nameNotResolved, .connectionRefused, .tls:
      return failsFast ? .failed(cause) : .retry(cause: cause)
    case .bodyTooLarge: return .failed(cause)
    default: return .retry(cause: cause)
    }
  }

  /// Errors of the transport's own (cancelled, timed out in its queue) do not know whose they are.
  func named(_ result: Result<Void, StoreError>, key: ObjectKey) -> Result<Void, StoreError> {
    result.mapError { error in
      guard error.store.isEmpty else { return error }
      return StoreError(
        error.kind, store: displayName, key: key, detail: error.detail, advice: error.advice)
    }
  }

  func error(
    _ kind: StoreError.Kind, key: ObjectKey?, _ detail: String, advice: String = ""
  ) -> StoreError {
    StoreError(kind, store: displayName, key: key, detail: detail, advice: advice)
  }
}
