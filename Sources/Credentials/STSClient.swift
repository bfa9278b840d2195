import Crypto
import Formats
import Glibc
import ObjectStore
import Posix
import Transport

/// The service that turns one identity into another for a while.
struct STSClient {
  /// "https://sts.eu-west-1.amazonaws.com".
  let endpoint: String
  let region: String
  let caBundle: String?
  let transport: CredentialsTransport

  /// `endpoint`: of the environment or profile, in place of the region's own.
  init(
    endpoint: String?, region: String?, isLegacy: Bool = false, caBundle: String? = nil,
    transport: CredentialsTransport
  ) {
    self.caBundle = caBundle
    self.transport = transport
    if let endpoint {
      var text = endpoint
      while text.hasSuffix("/") { text.removeLast() }
      self.endpoint = text
      self.region = region ?? "us-east-1"
    } else if let region, !isLegacy || region.hasPrefix("cn-") || region.hasPrefix("us-gov-") {
      let suffix = region.hasPrefix("cn-") ? "amazonaws.com.cn" : "amazonaws.com"
      self.endpoint = "https://sts.\(region).\(suffix)"
      self.region = region
    } else {
      self.endpoint = "https://sts.amazonaws.com"
      self.region = "us-east-1"
    }
  }

  /// `keys`: what the request is signed with; `nil`: the token in `parameters` speaks for itself.
  func call(
    _ action: String, _ parameters: [(name: String, value: String)], signedBy keys: Credentials?,
    source: String, deadline: Instant
  ) throws(StoreError) -> Credentials {
    let form = ([("Action", action), ("Version", "2011-06-15")] + parameters)
      .map {
        "\(PercentEncoding.encode($0.0.utf8))=\(PercentEncoding.encode($0.1.utf8))"
      }.joined(separator: "&")
    let body = Array(form.utf8)
    var headers: [(name: String, value: String)] = [
      ("content-type", "application/x-www-form-urlencoded; charset=utf-8")
    ]
    guard let url = try? HTTPURL.parse(endpoint).url else {
      throw StoreError(
        .badCredentials, store: source, detail: "'\(endpoint)' is not an STS endpoint")
    }
    if let keys {
      let input = SigningInput(
        method: "POST", host: url.authority, path: String(url.path),
        payloadHash: SigV4Signer.hash(of: body),
        time: Int64(time(nil)))
      headers += SigV4Signer(service: "sts").headers(for: input, credentials: keys, region: region)
    }
    let isLocal = ["127.", "localhost", "[::1]"].contains { url.host.hasPrefix($0) }
    let request = HTTPRequest(
      method: .post, url: url.text, headers: headers, body: body, bypassesProxy: isLocal)
    let reply = try KeysClient(name: source, caBundle: caBundle, transport: transport).send(
      KeysClient.Request(http: request), deadline: deadline)
    let texts = XMLTexts(reply.body)
    guard reply.status == 200 else {
      let code = texts["Code"].map { " \($0)" } ?? ""
      let message = texts["Message"].map { ": \($0.prefix(300))" } ?? ""
      throw StoreError(
        .badCredentials, store: source,
        detail: "\(action) was refused: HTTP \(reply.status)\(code)\(message)")
    }
    guard let id = texts["AccessKeyId"],
      let secret = texts["SecretAccessKey"],
      let token = texts["SessionToken"],
      let expires = texts["Expiration"].flatMap(UTCTime.zoned)
    else {
      throw StoreError(
        .badCredentials, store: source, detail: "\(action): the response has no credentials")
    }
    return try Credentials(
      accessKeyID: id, secretAccessKey: secret, sessionToken: token, source: source,
      expires: expires
    ).checked()
  }
}
