import Crypto
import Formats
import Posix

/// AWS Signature Version 4, for S3: the path is signed as it is sent, encoded once and not normalised.
///
/// Our own and not libcurl's: each libcurl that users have signs some S3 URL wrongly.
public struct SigningInput: Sendable {
  public var method: String
  /// As in the Host header: the port only where it is not the scheme's own.
  public var host: String
  /// Percent-encoded, begins with "/".
  public var path: String
  /// Percent-encoded names and values, in any order.
  public var query: [(name: String, value: String)]
  /// More headers to sign, names in lower case: `x-amz-*` alone, as proxies change others.
  public var headers: [(name: String, value: String)]
  /// Hexadecimal SHA-256 of the body, or UNSIGNED-PAYLOAD.
  public var payloadHash: String
  /// Seconds since 1970.
  public var time: Int64

  public init(
    method: String, host: String, path: String, query: [(name: String, value: String)] = [],
    headers: [(name: String, value: String)] = [], payloadHash: String = SigV4Signer.emptyHash,
    time: Int64
  ) {
    self.method = method
    self.host = host
    self.path = path
    self.query = query
    self.headers = headers
    self.payloadHash = payloadHash
    self.time = time
  }
}

/// Signs, and remembers the derived key: it holds for a day, a region and a service.
public final class SigV4Signer: Sendable {
  /// SHA-256 of nothing: the body of every GET.
  public static let emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

  private struct DerivedKey {
    var secret: String
    var date: String
    var region: String
    var key: [UInt8]
  }

  private let service: String
  private let tokenHeader: String
  private let derived = Lock<DerivedKey?>(nil)

  public init(service: String = "s3", tokenHeader: String = "x-amz-security-token") {
    self.service = service
    self.tokenHeader = tokenHeader
  }

  /// The headers to add: x-amz-date, x-amz-content-sha256 (S3 alone), x-amz-security-token, authorization.
  public func headers(
    for input: SigningInput, credentials: Credentials, region: String
  ) -> [(name: String, value: String)] {
    let stamp = UTCTime.compactStamp(input.time)
    var added: [(name: String, value: String)] = [("x-amz-date", stamp)]
    if service.hasPrefix("s3") { added.append(("x-amz-content-sha256", input.payloadHash)) }
    if let token = credentials.sessionToken { added.append((tokenHeader, token)) }
    let canonical = Self.canonicalRequest(input, added)
    let date = String(stamp.prefix(8))
    let scope = "\(date)/\(region)/\(service)/aws4_request"
    let toSign =
      "AWS4-HMAC-SHA256\n\(stamp)\n\(scope)\n"
      + Self.hash(of: Array(canonical.text.utf8))
    let key = signingKey(secret: credentials.secretAccessKey, date: date, region: region)
    let signature = Hex.encode(Self.authenticate(toSign, key))
    added.append(
      (
        "authorization",
        "AWS4-HMAC-SHA256 Credential=\(credentials.accessKeyID)/\(scope), "
          + "SignedHeaders=\(canonical.signedHeaders), Signature=\(signature)"
      ))
    return added
  }

  static func canonicalRequest(
    _ input: SigningInput, _ added: [(name: String, value: String)]
  ) -> (text: String, signedHeaders: String) {
    let query = input.query.sorted { ($0.name, $0.value) < ($1.name, $1.value) }
      .map { "\($0.name)=\($0.value)" }.joined(separator: "&")
    let headers = ([("host", input.host)] + input.headers + added).sorted { $0.0 < $1.0 }
    let signed = headers.map { $0.0 }.joined(separator: ";")
    let lines = headers.map { "\($0.0):\(collapsed($0.1))\n" }.joined()
    return (
      "\(input.method)\n\(input.path)\n\(query)\n\(lines)\n\(signed)\n\(input.payloadHash)", signed
    )
  }

  private func signingKey(secret: String, date: String, region: String) -> [UInt8] {
    let known = derived.withLock { known in
      known.flatMap {
        $0.secret == secret && $0.date == date && $0.region == region ? $0.key : nil
      }
    }
    if let known { return known }
    var key = Array("AWS4\(secret)".utf8)
    for part in [date, region, service, "aws4_request"] { key = Self.authenticate(part, key) }
    derived.withLock {
      $0 = DerivedKey(secret: secret, date: date, region: region, key: key)
    }
    return key
  }

  private static func authenticate(_ text: String, _ key: [UInt8]) -> [UInt8] {
    Array(
      HMAC<SHA256>.authenticationCode(for: Array(text.utf8), using: SymmetricKey(data: key)))
  }

  /// Spaces at the ends go, runs of them become one.
  private static func collapsed(_ value: String) -> String {
    value.utf8.contains(UInt8(ascii: " "))
      ? value.split(separator: " ", omittingEmptySubsequences: true).joined(separator: " ") : value
  }

  /// Hexadecimal SHA-256 of a body.
  static func hash(of body: [UInt8]) -> String { Hex.encode(SHA256.hash(data: body)) }
}
