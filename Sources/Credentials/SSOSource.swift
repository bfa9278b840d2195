import Crypto
import Formats
import Glibc
import ObjectStore
import Posix
import Transport

/// Keys for a role by single sign-on: with the token that `aws sso login` left in its cache, renewed
/// while it can be.
struct SSOSource: CredentialsSource {
  let profile: String
  let accountID: String
  let roleName: String
  let region: String
  /// The name of the sso-session, or the start URL where there is none: what the cache is filed under.
  let cacheKey: String
  let cacheFolder: String
  let environment: [String: String]
  let caBundle: String?
  let transport: CredentialsTransport

  var name: String { "single sign-on of profile \(profile)" }

  private var loginAdvice: String { "run: aws sso login --profile \(profile)" }

  private var cacheFile: String {
    let digest = Insecure.SHA1.hash(data: Array(cacheKey.utf8))
    return "\(cacheFolder)/\(Hex.encode(digest)).json"
  }

  func fetch(deadline: Instant) throws(StoreError) -> Credentials {
    let token = try accessToken(deadline)
    let query =
      "account_id=\(PercentEncoding.encode(accountID.utf8))"
      + "&role_name=\(PercentEncoding.encode(roleName.utf8))"
    let base = endpoint("AWS_ENDPOINT_URL_SSO", "https://portal.sso.\(region).amazonaws.com")
    let reply = try send(
      HTTPRequest(
        url: "\(base)/federation/credentials?\(query)",
        headers: [("x-amz-sso_bearer_token", token)],
        bypassesProxy: base.hasPrefix("http://127.")), deadline)
    guard reply.status == 200 else {
      throw refused("the service refused the request (\(reply.words))", advice: loginAdvice)
    }
    guard let keys = (try? JSONValue(reply.body))?["roleCredentials"],
      let id = keys.text("accessKeyId"), let secret = keys.text("secretAccessKey")
    else { throw refused("the service's response has no credentials") }
    return try Credentials(
      accessKeyID: id, secretAccessKey: secret, sessionToken: keys.text("sessionToken"),
      source: name, expires: keys.integer("expiration").map { $0 / 1000 }
    ).checked()
  }

  private func accessToken(_ deadline: Instant) throws(StoreError) -> String {
    guard let bytes = readFile(cacheFile), let cached = try? JSONValue(bytes),
      let token = cached.text("accessToken"),
      let expires = cached.text("expiresAt").flatMap(UTCTime.zoned)
    else { throw refused("there is no SSO session", advice: loginAdvice) }
    let now = Int64(time(nil))
    if expires > now + 60 { return token }
    // The application's registration ends too.
    let registered = cached.text("registrationExpiresAt").flatMap(UTCTime.zoned) ?? .max
    guard let refresh = cached.text("refreshToken"), let client = cached.text("clientId"),
      let secret = cached.text("clientSecret"), registered > now
    else {
      if expires > now { return token }
      throw refused("the SSO session has expired", advice: loginAdvice)
    }
    return try renewed(cached, refresh, client, secret, deadline)
  }

  /// The refresh token may be good for once only, so what comes is kept where the AWS tools look for it.
  private func renewed(
    _ cached: JSONValue, _ refresh: String, _ client: String, _ secret: String, _ deadline: Instant
  ) throws(StoreError) -> String {
    let base = endpoint("AWS_ENDPOINT_URL_SSO_OIDC", "https://oidc.\(region).amazonaws.com")
    let body: JSONValue = .object([
      "clientId": .text(client), "clientSecret": .text(secret),
      "grantType": .text("refresh_token"), "refreshToken": .text(refresh),
    ])
    let reply = try send(
      HTTPRequest(
        method: .post, url: base + "/token", headers: [("content-type", "application/json")],
        body: Array(body.json.utf8), bypassesProxy: base.hasPrefix("http://127.")), deadline)
    guard reply.status == 200, let answer = try? JSONValue(reply.body),
      let token = answer.text("accessToken"), let lifetime = answer.integer("expiresIn"),
      case .object(var members) = cached
    else {
      throw refused("the SSO session cannot be renewed (HTTP \(reply.status))", advice: loginAdvice)
    }
    members["accessToken"] = .text(token)
    members["expiresAt"] = .text(UTCTime.stamp(Int64(time(nil)) + min(max(lifetime, 0), 1 << 31)))
    if let next = answer.text("refreshToken") { members["refreshToken"] = .text(next) }
    keep(JSONValue.object(members).json)
    return token
  }

  private func keep(_ text: String) {
    let scratch = "\(cacheFile).millrace-\(getpid())"
    unlink(scratch)
    let file = open(scratch, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
    guard file >= 0 else { return }
    let bytes = Array(text.utf8)
    let written = write(file, bytes, bytes.count)
    close(file)
    if written != bytes.count || rename(scratch, cacheFile) != 0 { unlink(scratch) }
  }

  private func endpoint(_ variable: String, _ usual: String) -> String {
    var url = environment[variable] ?? usual
    while url.hasSuffix("/") { url.removeLast() }
    return url
  }

  private func send(
    _ request: HTTPRequest, _ deadline: Instant
  ) throws(StoreError) -> KeysClient.Reply {
    try KeysClient(name: name, caBundle: caBundle, transport: transport).send(
      KeysClient.Request(http: request), deadline: deadline)
  }

  /// `nil`: it is not there or no small file.
  private func readFile(_ path: String) -> [UInt8]? {
    let limit = 64 << 10
    let bytes = try? readSmallBytes(path, atMost: limit)
    return bytes.flatMap { $0.isEmpty || $0.count >= limit ? nil : $0 }
  }
}
