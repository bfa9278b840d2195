import Formats
import Metrics
import ObjectStore
import Posix
import Transport

/// What every request to one site has in common: where it goes, what it carries, and what an answer
/// other than success means.
struct HTTPSite: Sendable {
  /// The folder that is mounted; its target ends in "/".
  var base: HTTPURL
  let authorization: HTTPAuthorization
  /// The address without user and password.
  var displayName: String
  let metrics: StoreMetrics
  /// A hub lists gated repositories and refuses their files.
  var isHub = false
  static let gateAdvice =
    "the repository is private or gated: accept its terms on the hub, and give a token "
    + "(HF_TOKEN, --bearer-token-file, or hf auth login)"
  /// Where files were last found.
  let found = RedirectMemory()
  /// Whom this site may send its readers to.
  var peers = PeerPolicy()
  /// The site itself was named by this one's answers or manifest.
  var namedBy: PeerPolicy?
  /// Keys are what stands behind the origin in an address, query and all, as it was written.
  var keysAreTargets = false

  /// Bytes of an error's or redirect's body that are read so that the connection can be used again.
  static let drainedBytesMax = 64 << 10
  /// A server's Retry-After is believed up to here, seconds.
  static let retryAfterSecondsMax: Int64 = 300

  /// The address of an object, or of a folder where the key ends in "/" or is the root's.
  func url(of key: ObjectKey) throws(StoreError) -> HTTPURL {
    if keysAreTargets {
      var url = base
      url.target = "/" + String(decoding: key.bytes, as: UTF8.self)
      return url
    }
    let isFolder = key.bytes.last == UInt8(ascii: "/")
    guard key == .root || ObjectName.isPath(key.bytes.dropLast(isFolder ? 1 : 0)) else {
      throw failure(.notFound, key, "not a valid name of a file on a web server")
    }
    var url = base
    url.target += PercentEncoding.encode(key.bytes, keepsSlash: true)
    return url
  }

  /// The user and password go to the site's own origin alone, wherever a redirect leads.
  func request(
    _ url: HTTPURL, headers: [(name: String, value: String)]
  ) -> HTTPRequest {
    var headers = headers
    headers.append((name: "Accept-Encoding", value: "identity"))
    if url.origin == base.origin, let header = authorization.header {
      headers.append((name: "Authorization", value: header))
    }
    var request = HTTPRequest(url: url.text, headers: headers)
    request.showsCertificate = url.origin == base.origin && namedBy == nil
    if let namedBy {
      request.peer = .named(by: namedBy)
    } else {
      request.peer = url.origin == base.origin ? .own(peers) : .named(by: peers)
    }
    return request
  }

  /// The password or token crosses the network in the clear.
  var sendsSecretsInClear: Bool {
    authorization.header != nil && !base.isSecure && !PeerPolicy(host: base.host).isThisMachine
  }

  func failure(
    _ kind: StoreError.Kind, _ key: ObjectKey?, _ detail: String, advice: String = ""
  ) -> StoreError {
    StoreError(kind, store: displayName, key: key, detail: detail, advice: advice)
  }

  /// What an answer that is neither success nor redirect means.
  /// `shown`: the Authorization that was sent.
  func verdict(on head: HTTPResponseHead, _ key: ObjectKey?, shown: String?) -> Verdict {
    let said = "the server responded \(head.status)"
    switch head.status {
    case 404, 410: return .failed(failure(.notFound, key, said))
    case 401:
      if shown != nil, authorization.reload(insteadOf: shown) { return .again }
      let advice =
        isHub
        ? Self.gateAdvice
        : shown == nil
          ? "give user name and password in a netrc file (--netrc, --netrc-file), or --bearer-token-file"
          : "check the user and password, or the token"
      return .failed(failure(.accessDenied, key, said, advice: advice))
    case 403, 407, 451:
      return .failed(
        failure(
          .accessDenied, key, said,
          advice: isHub ? Self.gateAdvice : "check the server's access rules for this path"))
    case 412: return .failed(failure(.changed, key, "the file changed (\(said))"))
    case 429, 503:
      let seconds = head["retry-after"].flatMap { Int64($0) }
      let after = seconds.map { Duration.seconds(min(max($0, 0), Self.retryAfterSecondsMax)) }
      return .retry(cause: failure(.throttled, key, said), isThrottle: true, after: after)
    case 408, 500..<600: return .retry(cause: failure(.serverFailure, key, said))
    default: return .failed(failure(.badReply, key, said))
    }
  }

  /// What a connection that failed means. `failsFast`: a user waits at a terminal.
  func verdict(
    on transfer: TransferFailure, _ key: ObjectKey?, failsFast: Bool = false
  ) -> Verdict {
    switch transfer.kind {
    case .tls:
      let advice = "check the certificate, or give its authority with --ca-bundle"
      return .failed(failure(.tls, key, transfer.detail, advice: advice))
    case .nameNotResolved, .connectionRefused:
      let cause = failure(
        .unreachable, key, transfer.detail, advice: "check the host and port in the address")
      return failsFast ? .failed(cause) : .retry(cause: cause)
    case .malformed: return .failed(failure(.badReply, key, transfer.detail))
    case .bodyTooLarge: return .failed(failure(.badReply, key, transfer.detail))
    case .firstByteTimedOut, .stalled:
      return .retry(cause: failure(.timedOut, key, transfer.detail))
    case .connectTimedOut, .connectionLost, .truncated, .bodiesTooLarge, .other:
      return .retry(cause: failure(.unreachable, key, transfer.detail))
    }
  }
}

/// Where one operation is asked next. Redirects are followed here and not in libcurl, so that
/// credentials stay with the site they are for.
struct HTTPRedirects {
  private let start: HTTPURL
  private(set) var current: HTTPURL
  private var hops = 0

  static let hopsMax = 5

  init(start: HTTPURL) {
    self.start = start
    current = start
  }

  /// Elsewhere than where it was asked first.
  var hasLeft: Bool { current.origin != start.origin }

  /// Begins where an earlier redirect led.
  mutating func begin(at url: HTTPURL) { current = url }

  enum Step: Equatable {
    case notRedirected
    case follow
    /// To the same path with "/" added: it names a folder.
    case isFolder
    case refused(String)
  }

  mutating func follow(_ head: HTTPResponseHead) -> Step {
    guard [301, 302, 303, 307, 308].contains(head.status) else { return .notRedirected }
    guard let location = head["location"] else {
      return .refused("the server responded \(head.status) without a Location")
    }
    guard hops < Self.hopsMax else { return .refused("more than \(Self.hopsMax) redirects") }
    let next: HTTPURL
    do throws(HTTPURL.Malformed) { next = try current.resolve(location) } catch {
      return .refused("the server redirects to an invalid URL: \(error.reason)")
    }
    if current.isSecure && !next.isSecure {
      return .refused("the server redirects from https to http (host \(next.host))")
    }
    let isFolder = next.host == current.host && next.path == current.path + "/"
    hops += 1
    current = next
    return isFolder ? .isFolder : .follow
  }

  /// For a retry: what a redirect led to (a signed address, a mirror) may have gone.
  mutating func restart() {
    current = start
    hops = 0
  }
}

/// Where a site's redirects led to, such as an address that is signed for a while: asking there again spares
/// a request for each range. Bounded in number and time; a refusal there forgets it.
final class RedirectMemory: Sendable {
  private static let limit = 4096
  private static let lifetime: Duration = .seconds(300)

  struct Place {
    var url: HTTPURL
    /// SHA-256 of the file, where the site states it with the redirect (X-Linked-ETag of a hub).
    var digest: [UInt8]?
    fileprivate var until = Instant.now + RedirectMemory.lifetime

    init(url: HTTPURL, digest: [UInt8]?) {
      self.url = url
      self.digest = digest
    }
  }

  private let places = Lock<[ObjectKey: Place]>([:])

  func place(of key: ObjectKey) -> Place? {
    places.withLock { places in
      guard let place = places[key] else { return nil }
      if place.until > .now { return place }
      places[key] = nil
      return nil
    }
  }

  func remember(_ key: ObjectKey, at place: Place) {
    places.withLock { places in
      // All at once, and seldom: they are found again.
      if places.count >= Self.limit { places = [:] }
      places[key] = place
    }
  }

  func forget(_ key: ObjectKey) { places.withLock { $0[key] = nil } }
}
