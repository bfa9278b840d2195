import ObjectStore
import TestSupport
import Testing

@testable import Credentials

@Suite struct CredentialsResolverTests {
  private let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder("aws") }

  private func environment(
    config: String = "", credentials: String = "", _ more: [String: String] = [:]
  ) throws -> [String: String] {
    [
      "AWS_CONFIG_FILE": try folder.file("config", text: config),
      "AWS_SHARED_CREDENTIALS_FILE": try folder.file("credentials", text: credentials),
      "AWS_EC2_METADATA_DISABLED": "true",
    ].merging(more) { $1 }
  }

  private func resolve(
    _ environment: [String: String], _ options: CredentialsOptions = CredentialsOptions()
  ) throws(StoreError) -> ResolvedAccess {
    try CredentialsResolver(options: options, environment: environment).resolve(for: "s3://b")
  }

  private func failure(
    _ environment: [String: String], _ options: CredentialsOptions = CredentialsOptions()
  ) -> StoreError? {
    do throws(StoreError) { _ = try resolve(environment, options) } catch { return error }
    return nil
  }

  private static let keys = "aws_access_key_id = FILEKEY\naws_secret_access_key = filesecret\n"

  @Test func certificateAuthoritiesAreFoundWhereADistributionKeepsThem() {
    let places = ["/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"]
    for place in places {
      #expect(CredentialsResolver.systemCABundle { $0 == place } == place)
    }
    // libcurl's own is left to it, and with it the directory beside it.
    #expect(CredentialsResolver.systemCABundle { _ in true } == nil)
    #expect(CredentialsResolver.systemCABundle { _ in false } == nil)
  }

  @Test func environmentComesBeforeFiles() throws {
    let found = try resolve(
      environment(
        credentials: "[default]\n" + Self.keys,
        [
          "AWS_ACCESS_KEY_ID": "ENVKEY", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "t",
        ]))
    #expect(found.credentials?.accessKeyID == "ENVKEY")
    #expect(found.credentials?.sessionToken == "t")
    #expect(found.credentials?.source == "environment")
  }

  @Test func explicitProfileBeatsTheEnvironmentAndAWSPROFILEDoesNot() throws {
    let variables = try environment(
      credentials: "[train]\n" + Self.keys,
      ["AWS_ACCESS_KEY_ID": "ENVKEY", "AWS_SECRET_ACCESS_KEY": "s", "AWS_PROFILE": "train"])
    #expect(try resolve(variables).credentials?.accessKeyID == "ENVKEY")
    let named = try resolve(variables, CredentialsOptions(profile: "train"))
    #expect(named.credentials?.accessKeyID == "FILEKEY")
    #expect(named.credentials?.source == "profile train")
  }

  @Test func sharedFileComesBeforeConfigFile() throws {
    let both = try environment(
      config: "[default]\naws_access_key_id=CONFIG\naws_secret_access_key=c\nregion=r1",
      credentials: "[default]\n" + Self.keys)
    #expect(try resolve(both).credentials?.accessKeyID == "FILEKEY")
    #expect(try resolve(both).region == "r1")
    let config = try environment(
      config: "[profile p]\naws_access_key_id=CONFIG\naws_secret_access_key=c")
    let found = try resolve(config, CredentialsOptions(profile: "p"))
    #expect(found.credentials?.accessKeyID == "CONFIG")
  }

  @Test func noSignRequestNeedsNoKeys() throws {
    let found = try resolve(environment(), CredentialsOptions(noSignRequest: true))
    #expect(found.credentials == nil)
  }

  @Test func regionAndEndpointFollowTheirOrder() throws {
    let config =
      "[default]\nregion=fromfile\nendpoint_url=http://file\n"
      + "services=mine\ns3 =\n  addressing_style = virtual\n"
      + "[services mine]\ns3 =\n  endpoint_url = http://service\n"
    let keys = ["AWS_ACCESS_KEY_ID": "K", "AWS_SECRET_ACCESS_KEY": "s"]
    var variables = try environment(config: config, keys)
    var found = try resolve(variables)
    #expect(found.region == "fromfile")
    #expect(found.endpointURL == "http://service")
    #expect(found.pathStyle == false)
    variables["AWS_DEFAULT_REGION"] = "default"
    variables["AWS_ENDPOINT_URL"] = "http://all"
    found = try resolve(variables)
    #expect(found.region == "default")
    #expect(found.endpointURL == "http://all")
    variables["AWS_REGION"] = "env"
    variables["AWS_ENDPOINT_URL_S3"] = "http://s3"
    found = try resolve(variables)
    #expect(found.region == "env")
    #expect(found.endpointURL == "http://s3")
    found = try resolve(
      variables, CredentialsOptions(region: "option", endpointURL: "http://option"))
    #expect(found.region == "option")
    #expect(found.endpointURL == "http://option")
  }

  @Test func missingKeysSayWhatToDo() throws {
    let error = try #require(try failure(environment()))
    #expect(error.kind == .badCredentials)
    #expect(error.description.contains("--no-sign-request"))
  }

  @Test func unknownProfileIsNamed() throws {
    let error = try #require(
      try failure(environment(), CredentialsOptions(profile: "nobody")))
    #expect(error.description.contains("'nobody' does not exist"))
  }

  @Test func halfAPairIsAnError() throws {
    #expect(try failure(environment(["AWS_ACCESS_KEY_ID": "K"]))?.kind == .badCredentials)
    let file = try environment(credentials: "[default]\naws_access_key_id = K\n")
    #expect(failure(file)?.detail.contains("aws_secret_access_key") == true)
  }

  @Test func aRoleIsNeverReplacedByTheKeysBesideIt() throws {
    let variables = try environment(
      config: "[default]\nrole_arn = arn:aws:iam::1:role/x\n",
      credentials: "[default]\n" + Self.keys)
    #expect(failure(variables)?.detail.contains("neither source_profile nor") == true)
  }

  @Test func brokenFileNamesItsLine() throws {
    let error = try #require(try failure(environment(config: "[default]\nbroken\n")))
    #expect(error.kind == .invalidSource)
    #expect(error.detail.contains("line 2"))
  }

  @Test func keysWithLineBreaksAreRefused() throws {
    let variables = try environment(
      ["AWS_ACCESS_KEY_ID": "K\r\nx-evil: 1", "AWS_SECRET_ACCESS_KEY": "s"])
    #expect(failure(variables)?.kind == .badCredentials)
  }

  @Test func secretsAreNotPrinted() {
    let keys = Credentials(
      accessKeyID: "AKIDEXAMPLE", secretAccessKey: "topsecret", sessionToken: "token", source: "x")
    #expect(!"\(keys) \(String(reflecting: keys)) \([keys])".contains("topsecret"))
  }

  private func environment(_ more: [String: String]) throws -> [String: String] {
    try environment(config: "", credentials: "", more)
  }

  private static let oracle = """
    import botocore.session, os
    session = botocore.session.Session(profile=os.environ.get('EXPLICIT'))
    keys = session.get_credentials()
    client = session.create_client('s3', region_name=session.get_config_variable('region') or 'none')
    print('|'.join([keys.access_key, keys.secret_key, keys.token or '', client.meta.region_name,
      client.meta.endpoint_url]))
    """

  /// The same files and environment, resolved by botocore and by us.
  @Test(.enabled(if: requireOrSkip(.servers)))
  func sameAnswerAsBotocore() throws {
    let config = """
      [default]
      region = r-default
      aws_access_key_id = CONFDEF
      aws_secret_access_key = c1
      [profile alpha]
      region = r-alpha
      services = local
      [profile "be ta"]
      aws_access_key_id = BETA
      aws_secret_access_key = be=ta/+
      aws_session_token = tok
      endpoint_url = http://127.0.0.1:9
      region : r-beta
      [services local]
      # comment
      s3 =
        endpoint_url = http://127.0.0.1:7
      """
    let credentials = """
      [alpha]
      aws_access_key_id=ALPHA
      aws_secret_access_key =  spaced
      [gamma]
      aws_access_key_id = GAMMA
      aws_secret_access_key = g
      region = r-gamma
      """
    let cases: [(explicit: String?, more: [String: String])] = [
      (nil, [:]), ("alpha", [:]), ("be ta", [:]), ("gamma", [:]),
      (nil, ["AWS_PROFILE": "alpha"]),
      (nil, ["AWS_PROFILE": "gamma", "AWS_DEFAULT_REGION": "r-env"]),
      (nil, ["AWS_ACCESS_KEY_ID": "ENV", "AWS_SECRET_ACCESS_KEY": "e", "AWS_PROFILE": "alpha"]),
      ("alpha", ["AWS_ACCESS_KEY_ID": "ENV", "AWS_SECRET_ACCESS_KEY": "e"]),
      ("alpha", ["AWS_ENDPOINT_URL": "http://127.0.0.1:5"]),
      (
        "alpha",
        ["AWS_ENDPOINT_URL": "http://127.0.0.1:5", "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:6"]
      ),
      ("be ta", ["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"]),
    ]
    for one in cases {
      var variables = try environment(config: config, credentials: credentials, one.more)
      let ours = try resolve(variables, CredentialsOptions(profile: one.explicit))
      variables["EXPLICIT"] = one.explicit
      let result = try CommandResult.check(
        [VirtualEnvironment.shared().python, "-c", Self.oracle], environment: variables)
      let theirs = result.output.split(whereSeparator: \.isNewline)[0]
        .split(separator: "|", omittingEmptySubsequences: false).map(String.init)
      let keys = try #require(ours.credentials)
      #expect(keys.accessKeyID == theirs[0], "\(one)")
      #expect(keys.secretAccessKey == theirs[1], "\(one)")
      #expect(keys.sessionToken ?? "" == theirs[2], "\(one)")
      #expect(ours.region == theirs[3], "\(one)")
      if let endpoint = ours.endpointURL {
        #expect(endpoint == theirs[4], "\(one)")
      } else {
        #expect(theirs[4].contains("amazonaws.com"), "\(one)")
      }
    }
  }
}
