import Glibc
import ObjectStore
import Posix

/// A role that other keys may assume.
struct AssumeRoleSource: CredentialsSource {
  let profile: String
  let roleARN: String
  let sessionName: String
  var externalID: String?
  var durationSeconds: Int?
  let base: any CredentialsSource
  let sts: STSClient

  var name: String { "role of profile \(profile)" }

  func fetch(deadline: Instant) throws(StoreError) -> Credentials {
    let keys: Credentials
    do throws(StoreError) { keys = try base.fetch(deadline: deadline) } catch {
      var error = error
      error.detail = "\(error.store): \(error.detail)"
      error.store = name
      throw error
    }
    var parameters = [("RoleArn", roleARN), ("RoleSessionName", sessionName)]
    if let externalID { parameters.append(("ExternalId", externalID)) }
    if let durationSeconds { parameters.append(("DurationSeconds", String(durationSeconds))) }
    return try sts.call(
      "AssumeRole", parameters.map { (name: $0.0, value: $0.1) }, signedBy: keys, source: name,
      deadline: deadline)
  }
}

/// A role for a token that another identity provider issues: Kubernetes service accounts (IRSA), CI systems.
struct WebIdentitySource: CredentialsSource {
  let roleARN: String
  let tokenFile: String
  let sessionName: String
  let sts: STSClient

  var name: String { "web identity" }

  /// The token is read each time: Kubernetes replaces it.
  func fetch(deadline: Instant) throws(StoreError) -> Credentials {
    let token = try SecretText.read(tokenFile, what: "the web identity token", source: name)
    return try sts.call(
      "AssumeRoleWithWebIdentity",
      [
        (name: "RoleArn", value: roleARN), (name: "RoleSessionName", value: sessionName),
        (name: "WebIdentityToken", value: token),
      ], signedBy: nil, source: name, deadline: deadline)
  }
}
