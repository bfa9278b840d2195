import Formats
import ObjectStore
import Posix
import Transport

/// The role of an EC2 instance, by its metadata service of the second version (a session token first),
/// or the first where there is no other.
struct InstanceSource: CredentialsSource {
  let endpoint: String
  let timeout: Duration
  let tries: Int
  let transport: CredentialsTransport

  var name: String { "instance role" }

  /// `nil`: switched off by AWS_EC2_METADATA_DISABLED.
  init?(
    environment: [String: String], profile: ProfileFile.Section = [:],
    transport: CredentialsTransport
  ) {
    self.transport = transport
    if environment["AWS_EC2_METADATA_DISABLED"]?.lowercased() == "true" { return nil }
    let mode =
      environment["AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE"]
      ?? profile.text("ec2_metadata_service_endpoint_mode")
    let usual =
      mode?.lowercased() == "ipv6" ? "http://[fd00:ec2::254]" : "http://169.254.169.254"
    var endpoint =
      environment["AWS_EC2_METADATA_SERVICE_ENDPOINT"]
      ?? profile.text("ec2_metadata_service_endpoint") ?? usual
    while endpoint.hasSuffix("/") { endpoint.removeLast() }
    self.endpoint = endpoint
    let seconds = environment["AWS_METADATA_SERVICE_TIMEOUT"].flatMap(Int64.init) ?? 1
    timeout = .seconds(min(max(seconds, 1), 60))
    let attempts = environment["AWS_METADATA_SERVICE_NUM_ATTEMPTS"].flatMap(Int.init) ?? 2
    tries = min(max(attempts, 1), 10)
  }

  func fetch(deadline: Instant) throws(StoreError) -> Credentials {
    let token = try token(deadline)
    let place = "/latest/meta-data/iam/security-credentials/"
    let roles = try get(place, token, deadline)
    guard roles.status == 200,
      let role = String(decoding: roles.body, as: UTF8.self)
        .split(whereSeparator: \.isNewline).first.map(String.init)
    else {
      throw refused("the instance has no IAM role (\(roles.words))")
    }
    let safe = PercentEncoding.encode(role.utf8)
    let keys = try get(place + safe, token, deadline)
    guard keys.status == 200 else {
      throw refused("no credentials for the role \(role) (\(keys.words))")
    }
    return try ServiceKeys.read(keys.body, source: name)
  }

  /// "us-east-1"; `nil` where the service does not say.
  func region(deadline: Instant) -> String? {
    guard let token = try? token(deadline),
      let reply = try? get("/latest/meta-data/placement/region", token, deadline),
      reply.status == 200, reply.body.count < 40
    else { return nil }
    return String(decoding: reply.body, as: UTF8.self)
  }

  /// `nil`: the service knows no tokens.
  private func token(_ deadline: Instant) throws(StoreError) -> String? {
    let reply = try send(
      HTTPRequest(
        method: .put, url: endpoint + "/latest/api/token",
        headers: [("x-aws-ec2-metadata-token-ttl-seconds", "21600")], bypassesProxy: true), deadline
    )
    switch reply.status {
    case 200:
      let token = String(decoding: reply.body, as: UTF8.self)
      guard !token.isEmpty, token.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
        throw refused("the metadata service returned no token")
      }
      return token
    case 403: throw refused("the metadata service refused the request (\(reply.words))")
    default: return nil
    }
  }

  private func get(
    _ path: String, _ token: String?, _ deadline: Instant
  ) throws(StoreError) -> KeysClient.Reply {
    let headers = token.map { [(name: "x-aws-ec2-metadata-token", value: $0)] } ?? []
    return try send(
      HTTPRequest(url: endpoint + path, headers: headers, bypassesProxy: true), deadline)
  }

  private func send(
    _ request: HTTPRequest, _ deadline: Instant
  ) throws(StoreError) -> KeysClient.Reply {
    try KeysClient(name: name, transport: transport).send(
      KeysClient.Request(http: request, timeout: timeout, tries: tries), deadline: deadline)
  }
}
