import Glibc
import TestSupport

@testable import Credentials

/// Tests/Tools/keys.py: the services that give keys, and boto3 as the oracle.
final class KeyServices: Sendable {
  let url: String
  private let server: ServerProcess
  private let folder: TemporaryFolder

  /// `lifetime`: of the keys that are given, seconds.
  init(lifetime: Int = 3600) throws {
    folder = try TemporaryFolder("keys")
    let port = try freePorts(1)[0]
    server = try ServerProcess(
      ["python3", Checkout.tools + "/keys.py", "serve", String(port), String(lifetime)], port: port,
      log: folder.path("log"))
    url = "http://127.0.0.1:\(port)"
  }

  func stop() { server.stop() }

  /// The environment of a user whose home is `home`, with all services here and none elsewhere.
  func environment(home: String) -> [String: String] {
    [
      "HOME": home, "AWS_ENDPOINT_URL_STS": url, "AWS_ENDPOINT_URL_SSO": url,
      "AWS_ENDPOINT_URL_SSO_OIDC": url, "AWS_EC2_METADATA_DISABLED": "true",
      "AWS_DEFAULT_REGION": "us-east-1", "PATH": "/usr/bin:/bin",
    ]
  }
}
