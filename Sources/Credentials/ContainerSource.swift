import Formats
import Glibc
import ObjectStore
import Posix
import Transport

/// Keys of an ECS task or an EKS pod (Pod Identity), from the address in the environment.
struct ContainerSource: CredentialsSource {
  let url: String
  let environment: [String: String]
  let transport: CredentialsTransport

  var name: String { "container" }

  /// `nil`: the environment names none. Throws for an address that secrets must not be asked of.
  init?(
    environment: [String: String], transport: CredentialsTransport
  ) throws(StoreError) {
    self.environment = environment
    self.transport = transport
    if let path = environment["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"] {
      guard path.hasPrefix("/") else {
        throw Self.wrong("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI must begin with '/'")
      }
      url = "http://169.254.170.2" + path
    } else if let full = environment["AWS_CONTAINER_CREDENTIALS_FULL_URI"] {
      guard Self.isAllowed(full) else {
        throw Self.wrong(
          "AWS_CONTAINER_CREDENTIALS_FULL_URI must be https, or an address of this machine, ECS or EKS"
        )
      }
      url = full
    } else {
      return nil
    }
  }

  private static func wrong(_ detail: String) -> StoreError {
    StoreError(.badCredentials, store: "container", detail: detail)
  }

  /// https anywhere; http on loopback and at the link-local addresses of ECS and EKS.
  static func isAllowed(_ url: String) -> Bool {
    let lower = url.lowercased()
    if lower.hasPrefix("https://") { return lower.utf8.count > 8 }
    guard let (parts, userInfo) = try? HTTPURL.parse(url), userInfo == nil else { return false }
    let host = parts.host.filter { $0 != "[" && $0 != "]" }
    if ["localhost", "169.254.170.2", "169.254.170.23", "fd00:ec2::23", "::1"].contains(host) {
      return true
    }
    var address = in_addr()
    return inet_pton(AF_INET, host, &address) == 1
      && UInt32(bigEndian: address.s_addr) >> 24 == 127
  }

  func fetch(deadline: Instant) throws(StoreError) -> Credentials {
    var headers: [(name: String, value: String)] = [("accept", "application/json")]
    if let token = try token() { headers.append(("authorization", token)) }
    let request = HTTPRequest(
      url: url, headers: headers, bypassesProxy: url.lowercased().hasPrefix("http://"))
    let reply = try KeysClient(name: name, transport: transport).send(
      KeysClient.Request(http: request, timeout: .seconds(2), tries: 3), deadline: deadline)
    guard reply.status == 200 else {
      throw refused("the container's credentials endpoint refused the request (\(reply.words))")
    }
    return try ServiceKeys.read(reply.body, source: name)
  }

  /// The file is rewritten by the container's agent, so it is read each time.
  private func token() throws(StoreError) -> String? {
    guard let file = environment["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] else {
      let token = environment["AWS_CONTAINER_AUTHORIZATION_TOKEN"]
      if let token, !token.utf8.allSatisfy({ $0 >= 0x20 && $0 < 0x7F }) {
        throw refused("AWS_CONTAINER_AUTHORIZATION_TOKEN has a line break or control character")
      }
      return token
    }
    return try SecretText.read(
      file, what: "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", source: name)
  }
}
