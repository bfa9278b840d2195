import Formats
import Glibc
public import Logging
public import ObjectStore
import Posix
import Transport

/// Keys of a session with one directory bucket of S3 Express: they hold for five minutes, and requests
/// signed with them spare the store a look at policies.
public enum BucketSession {
  /// The header in which a session's token goes, in place of x-amz-security-token.
  public static let tokenHeader = "x-amz-s3session-token"

  /// Opens the first session, and others ahead of its end. `url`: of the bucket, "https://HOST"; `base`: whose
  /// keys open sessions; `transport`: what the base's own requests go over. Waits for the store.
  public static func open(
    url: String, host: String, region: String, store: String, base: any CredentialsProvider,
    caBundle: String? = nil, transport: CredentialsTransport? = nil, log: Logger
  ) throws(StoreError) -> any CredentialsProvider {
    let source = SessionSource(
      url: url, host: host, region: region, name: store, base: base, caBundle: caBundle,
      transport: transport ?? CredentialsTransport())
    let first = try source.fetch(deadline: .now + .seconds(30))
    return SessionCredentials(RenewingCredentials(source, first: first, log: log), base: base)
  }
}

/// A session's keys; those that it was opened with end with it.
private final class SessionCredentials: CredentialsProvider {
  private let session: RenewingCredentials
  private let base: any CredentialsProvider

  init(_ session: RenewingCredentials, base: any CredentialsProvider) {
    self.session = session
    self.base = base
  }

  func current() throws(StoreError) -> CredentialsNow { try session.current() }
  func renew(insteadOf refused: Credentials) -> Bool { session.renew(insteadOf: refused) }

  func shutdown() {
    session.shutdown()
    base.shutdown()
  }
}

struct SessionSource: CredentialsSource {
  let url: String
  let host: String
  let region: String
  let name: String
  let base: any CredentialsProvider
  let caBundle: String?
  let transport: CredentialsTransport

  func fetch(deadline: Instant) throws(StoreError) -> Credentials {
    let keys = try baseKeys(deadline)
    let mode: [(name: String, value: String)] = [("x-amz-create-session-mode", "ReadOnly")]
    let input = SigningInput(
      method: "GET", host: host, path: "/", query: [("session", "")], headers: mode,
      time: Int64(time(nil)))
    let signed = SigV4Signer(service: "s3express").headers(
      for: input, credentials: keys, region: region)
    let request = HTTPRequest(
      url: url + "/?session=", headers: mode + signed, bypassesProxy: host.hasPrefix("127."))
    let reply = try KeysClient(name: name, caBundle: caBundle, transport: transport).send(
      KeysClient.Request(http: request), deadline: deadline)
    let texts = XMLTexts(reply.body)
    guard reply.status == 200 else {
      let code = texts["Code"].map { " \($0)" } ?? ""
      if code.contains("Expired"), base.renew(insteadOf: keys) {
        return try fetch(deadline: deadline)
      }
      throw StoreError(
        reply.status == 404 ? .noSuchStore : .accessDenied, store: name,
        detail: "no session with the bucket: HTTP \(reply.status)\(code)",
        advice: "the credentials need s3express:CreateSession on the bucket")
    }
    guard let id = texts["AccessKeyId"],
      let secret = texts["SecretAccessKey"],
      let token = texts["SessionToken"]
    else { throw refused("the response to CreateSession has no credentials") }
    return try Credentials(
      accessKeyID: id, secretAccessKey: secret, sessionToken: token,
      source: "a session from \(keys.source)",
      expires: texts["Expiration"].flatMap(UTCTime.zoned)
    ).checked()
  }

  private func baseKeys(_ deadline: Instant) throws(StoreError) -> Credentials {
    while true {
      switch try base.current() {
      case .keys(let keys): return keys
      case .unsigned: throw refused("a session needs credentials")
      case .renewing(let what, let renewed):
        guard renewed.wait(until: deadline) else {
          throw StoreError(.timedOut, store: name, detail: "waiting for credentials: \(what)")
        }
      }
    }
  }
}
