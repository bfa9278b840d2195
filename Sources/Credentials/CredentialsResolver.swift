import Glibc
public import ObjectStore

/// What the user said on the command line; `nil` leaves it to environment and profile.
public struct CredentialsOptions: Sendable {
  public var profile: String?
  public var region: String?
  public var endpointURL: String?
  /// Requests go out unsigned: for public buckets.
  public var noSignRequest: Bool

  public init(
    profile: String? = nil, region: String? = nil, endpointURL: String? = nil,
    noSignRequest: Bool = false
  ) {
    self.profile = profile
    self.region = region
    self.endpointURL = endpointURL
    self.noSignRequest = noSignRequest
  }
}

/// What an S3 store needs to know of the user's AWS settings.
public struct ResolvedAccess: Sendable, Equatable {
  /// `nil`: requests go out unsigned.
  public var credentials: Credentials?
  /// `nil`: not said anywhere; the store starts with us-east-1 and learns.
  public var region: String?
  public var endpointURL: String?
  /// `addressing_style` of the profile's s3 block; `nil`: not said.
  public var pathStyle: Bool?
  /// PEM file of AWS_CA_BUNDLE or the profile's `ca_bundle`.
  public var caBundle: String?
}

/// Finds keys, region and endpoint as the AWS tools do: option, then environment, then profile; an explicit
/// `--profile` beats keys of the environment. Reads two small files, synchronously.
public struct CredentialsResolver: Sendable {
  let options: CredentialsOptions
  let environment: [String: String]

  /// `environment`: the process's own, as a dictionary.
  public init(options: CredentialsOptions, environment: [String: String]) {
    self.options = options
    self.environment = environment.filter { !$0.value.isEmpty }
  }

  /// `store`: the source as the user wrote it, for messages. Errors are `.badCredentials`,
  /// `.unsupported` (a source of keys that is not built yet) and `.invalidSource` (a broken file).
  public func resolve(for store: String) throws(StoreError) -> ResolvedAccess {
    let files = try AWSFiles(environment: environment, store: store)
    let named = options.profile ?? environment["AWS_DEFAULT_PROFILE"] ?? environment["AWS_PROFILE"]
    let name = named ?? "default"
    let shared = files.credentials.sections[name]
    let config = files.config.profile(name)
    if named != nil, shared == nil, config == nil {
      throw StoreError(
        .badCredentials, store: store, detail: "the profile '\(name)' does not exist",
        advice: "profiles are read from \(files.credentialsPath) and \(files.configPath)")
    }
    let profile = (config ?? [:]).merging(shared ?? [:]) { $1 }
    return ResolvedAccess(
      credentials: options.noSignRequest
        ? nil : try credentials(name: name, shared: shared, config: config, store: store),
      region: options.region ?? environment["AWS_REGION"] ?? environment["AWS_DEFAULT_REGION"]
        ?? profile.text("region"),
      endpointURL: try endpoint(profile, files, store: store),
      pathStyle: pathStyle(profile),
      caBundle: environment["AWS_CA_BUNDLE"] ?? profile.text("ca_bundle"))
  }

  private func credentials(
    name: String, shared: ProfileFile.Section?, config: ProfileFile.Section?, store: String
  ) throws(StoreError) -> Credentials {
    if options.profile == nil, let id = environment["AWS_ACCESS_KEY_ID"] {
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
      ).checked(store)
    }
    // A role stands before keys of the same profile: those are only what the role is assumed with, and
    // using them as they are would be another identity than the one that was asked for.
    let profile = (config ?? [:]).merging(shared ?? [:]) { $1 }
    if profile.text("role_arn") != nil {
      throw unsupported("role_arn in profile '\(name)' (assuming a role)", store)
    }
    let source = "profile \(name)"
    if let keys = try keys(in: shared, source: source, store) { return try keys.checked(store) }
    if let keys = try keys(in: config, source: source, store) { return try keys.checked(store) }
    throw missing(profile, name: name, store: store)
  }

  private func keys(
    in section: ProfileFile.Section?, source: String, _ store: String
  ) throws(StoreError) -> Credentials? {
    guard let section, let id = section.text("aws_access_key_id") else { return nil }
    guard let secret = section.text("aws_secret_access_key") else {
      throw StoreError(
        .badCredentials, store: store,
        detail: "\(source) has aws_access_key_id but no aws_secret_access_key")
    }
    let token = section.text("aws_security_token") ?? section.text("aws_session_token")
    return Credentials(
      accessKeyID: id, secretAccessKey: secret, sessionToken: token, source: source)
  }

  /// Names what was found and is not built yet, so that nobody searches for a mistake of theirs.
  private func missing(
    _ profile: ProfileFile.Section, name: String, store: String
  ) -> StoreError {
    let inProfile = [
      ("web_identity_token_file", "web identity"), ("sso_session", "single sign-on"),
      ("sso_start_url", "single sign-on"), ("login_session", "aws login"),
      ("credential_process", "a program that gives keys"),
    ]
    for (setting, what) in inProfile where profile[setting] != nil {
      return unsupported("\(setting) in profile '\(name)' (\(what))", store)
    }
    let inEnvironment = [
      ("AWS_WEB_IDENTITY_TOKEN_FILE", "web identity"),
      ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "keys of an ECS task"),
      ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "keys of a container or EKS pod"),
    ]
    for (variable, what) in inEnvironment where environment[variable] != nil {
      return unsupported("\(variable) (\(what))", store)
    }
    return StoreError(
      .badCredentials, store: store, detail: "no AWS keys found",
      advice: "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a --profile, or give "
        + "--no-sign-request for a public bucket (keys of an EC2 instance role are not supported yet)"
    )
  }

  private func unsupported(_ found: String, _ store: String) -> StoreError {
    StoreError(
      .unsupported, store: store, detail: "found \(found), which is not supported yet",
      advice: "give keys instead, for example: eval \"$(aws configure export-credentials "
        + "--format env)\"")
  }

  private func endpoint(
    _ profile: ProfileFile.Section, _ files: AWSFiles, store: String
  ) throws(StoreError) -> String? {
    if let option = options.endpointURL { return option }
    // The switch that the AWS tools have for settings left over from somewhere else.
    let ignores =
      environment["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"]
      ?? profile.text("ignore_configured_endpoint_urls")
    if ignores?.lowercased() == "true" { return nil }
    if let set = environment["AWS_ENDPOINT_URL_S3"] ?? environment["AWS_ENDPOINT_URL"] {
      return set
    }
    if let name = profile.text("services") {
      guard let services = files.config.named("services", name) else {
        throw StoreError(
          .invalidSource, store: store,
          detail: "the profile names services '\(name)', but [services \(name)] does not exist",
          advice: "look into \(files.configPath)")
      }
      if let url = services.nested("s3")?["endpoint_url"], !url.isEmpty { return url }
    }
    return profile.text("endpoint_url")
  }

  private func pathStyle(_ profile: ProfileFile.Section) -> Bool? {
    switch profile.nested("s3")?["addressing_style"] {
    case "path": true
    case "virtual": false
    default: nil
    }
  }
}

extension Credentials {
  /// Keys go into a header: what cannot stand there is told before a server is asked.
  fileprivate func checked(_ store: String) throws(StoreError) -> Credentials {
    func isClean(_ text: String) -> Bool { text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F } }
    guard isClean(accessKeyID), isClean(secretAccessKey), isClean(sessionToken ?? "") else {
      throw StoreError(
        .badCredentials, store: store,
        detail: "the keys from \(source) hold a space, a line break or another character that keys "
          + "never have", advice: "copy them again")
    }
    return self
  }
}
