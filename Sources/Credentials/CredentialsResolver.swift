import Glibc
public import Logging
public import ObjectStore
import Posix

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
public struct ResolvedAccess: Sendable {
  /// The first keys, for messages. `nil`: requests go out unsigned.
  public var credentials: Credentials?
  /// What a store asks for keys.
  public var provider: any CredentialsProvider
  /// `nil`: not said anywhere; the store starts with us-east-1 and learns.
  public var region: String?
  public var endpointURL: String?
  /// `addressing_style` of the profile's s3 block; `nil`: not said.
  public var pathStyle: Bool?
  /// Switches of AWS's endpoints; they hold where no endpoint is named.
  public var usesDualStack = false
  public var usesFIPS = false
  public var accelerates = false
  /// `nil`: not said.
  public var usesARNRegion: Bool?
  /// PEM file of AWS_CA_BUNDLE or the profile's `ca_bundle`.
  public var caBundle: String?
  /// What requests for credentials go over: for those of a bucket's sessions, too.
  public let transport: CredentialsTransport
}

/// Finds keys, region and endpoint as the AWS tools do: option, then environment, then profile; an explicit
/// `--profile` beats keys of the environment. Waits for the source of the keys, be it a program or a service.
public struct CredentialsResolver: Sendable {
  let options: CredentialsOptions
  let environment: [String: String]

  /// `environment`: the process's own, as a dictionary.
  public init(options: CredentialsOptions, environment: [String: String]) {
    self.options = options
    self.environment = environment.filter { !$0.value.isEmpty }
  }

  /// `store`: the source as the user wrote it, for messages. `caBundle`: of the command line. Errors are
  /// `.badCredentials`, `.unreachable` or `.timedOut` (a service that gives keys) and `.invalidSource` (a
  /// broken file).
  public func resolve(
    for store: String, caBundle: String? = nil,
    log: Logger = Logger(label: "keys", factory: { _ in SwiftLogNoOpLogHandler() })
  ) throws(StoreError) -> ResolvedAccess {
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
    var region =
      options.region ?? environment["AWS_REGION"] ?? environment["AWS_DEFAULT_REGION"]
      ?? profile.text("region")
    let bundle =
      caBundle ?? environment["AWS_CA_BUNDLE"] ?? profile.text("ca_bundle")
      ?? Self.commonCABundle(environment)
    let transport = CredentialsTransport()
    let chain = CredentialsChain(
      environment: environment, files: files, name: name, isExplicit: options.profile != nil,
      region: region, caBundle: bundle, transport: transport, store: store)
    let endpointURL = try endpoint(profile, files, store: store)
    let found = try keys(chain, log: log)
    if region == nil, endpointURL == nil, let instance = found?.2 as? InstanceSource {
      region = instance.region(deadline: .now + .seconds(5))
    }
    var access = ResolvedAccess(
      credentials: found?.0, provider: found?.1 ?? FixedCredentials(nil), region: region,
      endpointURL: endpointURL, pathStyle: pathStyle(profile), caBundle: bundle,
      transport: transport)
    setVariants(of: &access, profile)
    return access
  }

  /// The PEM file that curl and OpenSSL would read; nil: the one that libcurl was built with.
  public static func commonCABundle(_ environment: [String: String]) -> String? {
    ["CURL_CA_BUNDLE", "SSL_CERT_FILE"].lazy.compactMap { environment[$0] }.first { !$0.isEmpty }
      ?? systemCABundle { access($0, R_OK) == 0 }
  }

  /// Where a distribution keeps its certificate authorities. A libcurl that comes with this program was built for
  /// Debian, and its path is in none of the others.
  static func systemCABundle(exists: (String) -> Bool) -> String? {
    guard !exists("/etc/ssl/certs/ca-certificates.crt") else { return nil }
    return [
      "/etc/pki/tls/certs/ca-bundle.crt",  // Red Hat, Amazon Linux
      "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  // Red Hat 10
      "/etc/ssl/ca-bundle.pem",  // SUSE
      "/etc/ssl/cert.pem",
    ].first(where: exists)
  }

  private func setVariants(of access: inout ResolvedAccess, _ profile: ProfileFile.Section) {
    func isOn(_ variable: String?, _ text: String?) -> Bool? {
      (variable.flatMap { environment[$0] } ?? text).map { $0.lowercased() == "true" }
    }
    let s3 = profile.nested("s3") ?? [:]
    access.usesARNRegion = isOn("AWS_S3_USE_ARN_REGION", s3["use_arn_region"])
    guard access.endpointURL == nil else { return }
    access.usesDualStack =
      isOn(
        "AWS_USE_DUALSTACK_ENDPOINT",
        profile.text("use_dualstack_endpoint") ?? s3["use_dualstack_endpoint"])
      ?? false
    access.usesFIPS = isOn("AWS_USE_FIPS_ENDPOINT", profile.text("use_fips_endpoint")) ?? false
    access.accelerates = isOn(nil, s3["use_accelerate_endpoint"]) ?? false
  }

  /// Fetches from the source once, so that errors are reported at the mount.
  private func keys(
    _ chain: CredentialsChain, log: Logger
  ) throws(StoreError) -> (Credentials, any CredentialsProvider, (any CredentialsSource))? {
    if options.noSignRequest { return nil }
    let nothing = StoreError(
      .badCredentials, store: chain.store, detail: "no AWS credentials found in \(chain.places)",
      advice: "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a --profile, or give "
        + "--no-sign-request for a public bucket")
    guard let source = try chain.source() else { throw nothing }
    let keys: Credentials
    do throws(StoreError) { keys = try source.fetch(deadline: .now + Self.firstKeysTimeout) } catch
    {
      // The last of all places, which most machines do not have.
      if source is InstanceSource { throw nothing }
      throw StoreError(
        error.kind, store: chain.store, detail: "\(error.store): \(error.detail)",
        advice: error.advice)
    }
    let provider: any CredentialsProvider =
      source.isRenewable
      ? RenewingCredentials(source, first: keys, log: log) : FixedCredentials(keys)
    return (keys, provider, source)
  }

  /// What a mount waits for its first keys.
  private static let firstKeysTimeout: Duration = .seconds(30)

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
          advice: "check \(files.configPath)")
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
