import ObjectStore
import Posix

/// Which source the user's settings name: the order of the AWS tools (botocore's), one place after the
/// other, and within it what stands in the way.
struct CredentialsChain {
  let environment: [String: String]
  let files: AWSFiles
  let name: String
  /// `--profile`: beats keys and roles of the environment.
  let isExplicit: Bool
  let region: String?
  let caBundle: String?
  /// What all sources' requests go over.
  let transport: CredentialsTransport
  /// For messages.
  let store: String

  private typealias Section = ProfileFile.Section

  private func profile(_ name: String) -> Section? {
    let shared = files.credentials.sections[name]
    let config = files.config.profile(name)
    if shared == nil, config == nil { return nil }
    return (config ?? [:]).merging(shared ?? [:]) { $1 }
  }

  /// The first place that has something. `nil`: none has.
  func source() throws(StoreError) -> (any CredentialsSource)? {
    if !isExplicit, let keys = try environmentKeys() { return FixedSource(credentials: keys) }
    let section = profile(name) ?? [:]
    // A role stands before keys of the same profile: those are only what the role is assumed with, and
    // using them as they are would be another identity than the one that was asked for.
    if isRole(section) { return try role(name, section, visited: [name]) }
    if let found = try ofProfile(name, section, usesEnvironment: !isExplicit) { return found }
    if let container = try ContainerSource(environment: environment, transport: transport) {
      return container
    }
    return InstanceSource(environment: environment, profile: section, transport: transport)
  }

  /// What was looked at, for the error that says that there is nothing.
  var places: String {
    var places = isExplicit ? [] : ["the environment"]
    places.append("profile '\(name)' in \(files.credentialsPath) and \(files.configPath)")
    places.append("the container's and the instance's role")
    return places.joined(separator: ", ")
  }

  func environmentKeys() throws(StoreError) -> Credentials? {
    guard let id = environment["AWS_ACCESS_KEY_ID"] else { return nil }
    guard let secret = environment["AWS_SECRET_ACCESS_KEY"] else {
      throw StoreError(
        .badCredentials, store: store,
        detail: "AWS_ACCESS_KEY_ID is set but AWS_SECRET_ACCESS_KEY is not",
        advice: "set both or neither")
    }
    // The older name first, as botocore does.
    let token = environment["AWS_SECURITY_TOKEN"] ?? environment["AWS_SESSION_TOKEN"]
    return try Credentials(
      accessKeyID: id, secretAccessKey: secret, sessionToken: token, source: "environment"
    ).checked()
  }

  // MARK: Profiles

  /// All that a profile can say by itself, without a role of another's.
  private func ofProfile(
    _ name: String, _ section: Section, usesEnvironment: Bool
  ) throws(StoreError) -> (any CredentialsSource)? {
    if let web = try webIdentity(section, usesEnvironment: usesEnvironment) { return web }
    if let sso = try singleSignOn(name, section) { return sso }
    if try FileSource.keys(in: files.credentials.sections[name], source: "profile \(name)") != nil {
      return FileSource(profile: name, environment: environment, isShared: true)
    }
    if let command = section.text("credential_process") {
      guard let words = ProfileFile.words(command), !words.isEmpty else {
        throw wrong("credential_process of profile '\(name)' has an unclosed quote")
      }
      if let file = files.foreignFile {
        throw wrong(
          "credential_process of profile '\(name)' is not run as root: \(file) belongs to another user; "
            + "name root's own files with AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE")
      }
      return ProcessSource(profile: name, words: words)
    }
    if try FileSource.keys(in: files.config.profile(name), source: "profile \(name)") != nil {
      return FileSource(profile: name, environment: environment, isShared: false)
    }
    return nil
  }

  private func isRole(_ section: Section) -> Bool {
    section.text("role_arn") != nil && section.text("web_identity_token_file") == nil
  }

  private func hasKeys(_ section: Section) -> Bool { section.text("aws_access_key_id") != nil }

  private func webIdentity(
    _ section: Section, usesEnvironment: Bool
  ) throws(StoreError) -> WebIdentitySource? {
    func setting(_ variable: String, _ name: String) -> String? {
      (usesEnvironment ? environment[variable] : nil) ?? section.text(name)
    }
    guard let file = setting("AWS_WEB_IDENTITY_TOKEN_FILE", "web_identity_token_file") else {
      return nil
    }
    guard let role = setting("AWS_ROLE_ARN", "role_arn") else {
      throw wrong("a web identity token file is set, but no role: set AWS_ROLE_ARN or role_arn")
    }
    return WebIdentitySource(
      roleARN: role, tokenFile: file,
      sessionName: setting("AWS_ROLE_SESSION_NAME", "role_session_name") ?? Self.sessionName,
      sts: sts(section))
  }

  private static var sessionName: String { "millrace-\(Instant.now.nanoseconds / 1_000_000)" }

  // MARK: Roles

  private func role(
    _ name: String, _ section: Section, visited: [String]
  ) throws(StoreError) -> any CredentialsSource {
    if section.text("mfa_serial") != nil {
      throw wrong(
        "profile '\(name)' needs an MFA code (mfa_serial), which a mount cannot prompt for",
        advice: "export credentials: eval \"$(aws configure export-credentials --format env)\"")
    }
    let base: any CredentialsSource
    switch (section.text("source_profile"), section.text("credential_source")) {
    case (nil, nil):
      throw wrong(
        "profile '\(name)' has a role_arn, but neither source_profile nor credential_source")
    case (_?, _?):
      throw wrong(
        "profile '\(name)' has both source_profile and credential_source; give one of them")
    case (let source?, nil): base = try sourceProfile(source, of: name, visited)
    case (nil, let place?): base = try credentialSource(place, of: name)
    }
    return AssumeRoleSource(
      profile: name, roleARN: section.text("role_arn") ?? "",
      sessionName: section.text("role_session_name") ?? Self.sessionName,
      externalID: section.text("external_id"),
      durationSeconds: section.text("duration_seconds").flatMap(Int.init), base: base,
      sts: sts(section))
  }

  private func sourceProfile(
    _ source: String, of name: String, _ visited: [String]
  ) throws(StoreError) -> any CredentialsSource {
    guard let section = profile(source) else {
      throw wrong("profile '\(name)' names the source_profile '\(source)', which does not exist")
    }
    if source == name {
      // Its own keys are what its role is assumed with.
      guard hasKeys(section), let keys = try ofProfile(source, section, usesEnvironment: false)
      else {
        throw wrong("profile '\(name)' names itself as source_profile, but has no credentials")
      }
      return keys
    }
    guard !visited.contains(source) else {
      throw wrong(
        "the source_profile chain is a loop: "
          + (visited + [source]).joined(separator: " -> "))
    }
    if isRole(section), !hasKeys(section) {
      return try role(source, section, visited: visited + [source])
    }
    guard let found = try ofProfile(source, section, usesEnvironment: false) else {
      throw wrong("the source_profile '\(source)' of profile '\(name)' has no credentials")
    }
    return found
  }

  private func credentialSource(
    _ place: String, of name: String
  ) throws(StoreError) -> any CredentialsSource {
    switch place.lowercased() {
    case "environment":
      guard let keys = try environmentKeys() else {
        throw wrong("profile '\(name)' takes its credentials from the environment, which has none")
      }
      return FixedSource(credentials: keys)
    case "ec2instancemetadata":
      guard let instance = InstanceSource(environment: environment, transport: transport) else {
        throw wrong(
          "profile '\(name)' needs instance metadata, which AWS_EC2_METADATA_DISABLED disables")
      }
      return instance
    case "ecscontainer":
      guard let container = try ContainerSource(environment: environment, transport: transport)
      else {
        throw wrong("profile '\(name)' needs a container's role, but the environment names none")
      }
      return container
    default:
      throw wrong(
        "profile '\(name)' has the credential_source '\(place)'",
        advice: "one of Environment, Ec2InstanceMetadata, EcsContainer")
    }
  }

  private func sts(_ section: Section) -> STSClient {
    let ignores =
      environment["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"]
      ?? section.text("ignore_configured_endpoint_urls")
    var endpoint: String?
    if ignores?.lowercased() != "true" {
      let services = section.text("services").flatMap { files.config.named("services", $0) }
      endpoint =
        environment["AWS_ENDPOINT_URL_STS"] ?? environment["AWS_ENDPOINT_URL"]
        ?? services?.nested("sts")?["endpoint_url"] ?? section.text("endpoint_url")
    }
    let style =
      environment["AWS_STS_REGIONAL_ENDPOINTS"] ?? section.text("sts_regional_endpoints")
    return STSClient(
      endpoint: endpoint, region: section.text("region") ?? region,
      isLegacy: style?.lowercased() == "legacy", caBundle: caBundle, transport: transport)
  }

  // MARK: Single sign-on

  private func singleSignOn(_ name: String, _ section: Section) throws(StoreError) -> SSOSource? {
    var start = section.text("sso_start_url")
    var region = section.text("sso_region")
    let session = section.text("sso_session")
    if session == nil, start == nil { return nil }
    if let session {
      guard let found = files.config.named("sso-session", session) else {
        throw wrong("profile '\(name)' names the sso_session '\(session)', which does not exist")
      }
      start = found.text("sso_start_url")
      region = found.text("sso_region")
    }
    let settings = [
      ("sso_start_url", start), ("sso_region", region),
      ("sso_account_id", section.text("sso_account_id")),
      ("sso_role_name", section.text("sso_role_name")),
    ]
    let missing = settings.filter { $0.1 == nil }.map(\.0)
    guard missing.isEmpty, let start, let region else {
      throw wrong(
        "the single sign-on of profile '\(name)' lacks \(missing.joined(separator: ", "))")
    }
    return SSOSource(
      profile: name, accountID: settings[2].1 ?? "", roleName: settings[3].1 ?? "", region: region,
      cacheKey: session ?? start, cacheFolder: files.home + "/.aws/sso/cache",
      environment: environment, caBundle: caBundle, transport: transport)
  }

  private func wrong(_ detail: String, advice: String = "") -> StoreError {
    StoreError(
      .badCredentials, store: store, detail: detail,
      advice: advice.isEmpty ? "check \(files.configPath)" : advice)
  }
}
