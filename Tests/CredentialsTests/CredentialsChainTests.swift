import Formats
import Glibc
import ObjectStore
import Posix
import TestSupport
import Testing

@testable import Credentials

/// Every source of keys against a service of its own, and against what boto3 makes of the same.
@Suite(.serialized) struct CredentialsChainTests {
  struct Case {
    var name: String
    var config = ""
    var credentials = ""
    var environment: [String: String] = [:]
    var profile: String?
    /// In our message where there are no keys; `nil`: there are.
    var complaint: String?
  }

  private static let base = """
    [base]
    aws_access_key_id = AKIABASE
    aws_secret_access_key = secret-of-AKIABASE

    """

  private static func cases(_ url: String, _ home: String) -> [Case] {
    let role = "role_arn = arn:aws:iam::1:role"
    let variables = [
      "AWS_ACCESS_KEY_ID": "AKIAENV", "AWS_SECRET_ACCESS_KEY": "secret-of-AKIAENV",
    ]
    let instance = [
      "AWS_EC2_METADATA_DISABLED": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT": url,
    ]
    let web = [
      "AWS_ROLE_ARN": "arn:aws:iam::1:role/web", "AWS_WEB_IDENTITY_TOKEN_FILE": home + "/jwt",
    ]
    let container = ["AWS_CONTAINER_CREDENTIALS_FULL_URI": url + "/container"]
    let sso =
      "sso_account_id = 123\nsso_role_name = reader\nsso_start_url = https://corp\nsso_region = us-east-1\n"
    return [
      Case(name: "nothing", complaint: "no AWS credentials found"),
      Case(
        name: "role of a profile", config: "[default]\n\(role)/a\nsource_profile = base",
        credentials: base),
      Case(
        name: "role with its settings",
        config: "[profile p]\n\(role)/a\nsource_profile = base\nexternal_id = x y\n"
          + "duration_seconds = 1800\nrole_session_name = me", credentials: base, profile: "p"),
      Case(
        name: "role of a role",
        config: "[default]\n\(role)/b\nsource_profile = mid\n[profile mid]\n\(role)/a\n"
          + "source_profile = base", credentials: base),
      Case(
        name: "role of its own keys", config: "[profile base]\n\(role)/self\nsource_profile = base",
        credentials: base, profile: "base"),
      Case(
        name: "role in a circle",
        config: "[default]\n\(role)/b\nsource_profile = mid\n[profile mid]\n\(role)/a\n"
          + "source_profile = default", complaint: "default -> mid -> default"),
      Case(
        name: "role of nobody", config: "[default]\n\(role)/b\nsource_profile = missing",
        complaint: "'missing', which does not exist"),
      Case(
        name: "role of two",
        config: "[default]\n\(role)/b\nsource_profile = base\ncredential_source = Environment",
        credentials: base, complaint: "both source_profile and credential_source"),
      Case(name: "role of none", config: "[default]\n\(role)/b", complaint: "neither"),
      Case(
        name: "role refused", config: "[default]\n\(role)/forbidden\nsource_profile = base",
        credentials: base, complaint: "AccessDenied"),
      Case(
        name: "role of the environment",
        config: "[profile p]\n\(role)/e\ncredential_source = Environment",
        environment: variables.merging(["AWS_PROFILE": "p"]) { $1 }, profile: "p"),
      Case(
        name: "role of the instance",
        config: "[default]\n\(role)/i\ncredential_source = Ec2InstanceMetadata",
        environment: instance),
      Case(
        name: "role of the container",
        config: "[default]\n\(role)/c\ncredential_source = EcsContainer", environment: container),
      Case(
        name: "role of a place unknown", config: "[default]\n\(role)/c\ncredential_source = Moon",
        complaint: "credential_source 'Moon'"),
      Case(
        name: "environment before role", config: "[default]\n\(role)/a\nsource_profile = base",
        credentials: base, environment: variables),
      Case(name: "web identity of the environment", environment: web),
      Case(
        name: "web identity before keys of the file", credentials: base,
        environment: web.merging(["AWS_PROFILE": "base"]) { $1 }),
      Case(
        name: "explicit profile before web identity", credentials: base, environment: web,
        profile: "base"),
      Case(
        name: "web identity of a profile",
        config: "[profile w]\n\(role)/web2\nweb_identity_token_file = \(home)/jwt", profile: "w"),
      Case(
        name: "web identity without its file",
        environment: web.merging(["AWS_WEB_IDENTITY_TOKEN_FILE": home + "/none"]) { $1 },
        complaint: "/none"),
      Case(
        name: "program",
        config: "[default]\ncredential_process = \(home)/keys --for 'a b' \"c\"\n"),
      Case(
        name: "keys of the credentials file before a program",
        config: "[profile base]\ncredential_process = \(home)/keys a b", credentials: base,
        profile: "base"),
      Case(
        name: "a program that fails", config: "[default]\ncredential_process = \(home)/fails",
        complaint: "no luck today"),
      Case(
        name: "a program that prints nonsense",
        config: "[default]\ncredential_process = /bin/echo hello", complaint: "Version"),
      Case(name: "container", environment: container),
      Case(
        name: "container with a token",
        environment: [
          "AWS_CONTAINER_CREDENTIALS_FULL_URI": url + "/container?auth=Bearer%20x",
          "AWS_CONTAINER_AUTHORIZATION_TOKEN": "Bearer x",
        ]),
      Case(
        name: "pod identity: the token in a file goes first",
        environment: [
          "AWS_CONTAINER_CREDENTIALS_FULL_URI": url + "/container?auth=jwt-of-somebody",
          "AWS_CONTAINER_AUTHORIZATION_TOKEN": "other",
          "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": home + "/jwt",
        ]),
      Case(
        name: "container that refuses",
        environment: [
          "AWS_CONTAINER_CREDENTIALS_FULL_URI": url + "/container?auth=other"
        ], complaint: "HTTP 401"),
      Case(
        name: "container elsewhere",
        environment: ["AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://192.0.2.1/keys"],
        complaint: "must be https"),
      Case(name: "instance", environment: instance),
      Case(
        name: "keys of the file before the instance", credentials: base,
        environment: instance.merging(["AWS_PROFILE": "base"]) { $1 }),
      Case(
        name: "single sign-on of a session",
        config: "[profile s]\nsso_session = corp\nsso_account_id = 123\nsso_role_name = reader\n"
          + "[sso-session corp]\nsso_start_url = https://corp\nsso_region = us-east-1\n",
        profile: "s"),
      Case(name: "single sign-on as it was", config: "[profile s]\n\(sso)", profile: "s"),
      Case(
        name: "single sign-on expired",
        config: "[profile s]\n\(sso)".replacing("corp", with: "old"),
        profile: "s", complaint: "aws sso login --profile s"),
      Case(
        name: "single sign-on never",
        config: "[profile s]\n\(sso)".replacing("corp", with: "nobody"), profile: "s",
        complaint: "aws sso login --profile s"),
      Case(
        name: "single sign-on without an account",
        config: "[profile s]\nsso_start_url = https://corp\nsso_region = us-east-1\n"
          + "sso_role_name = r\n", profile: "s", complaint: "lacks sso_account_id"),
    ]
  }

  /// A home with a token, two programs and three sign-ons.
  private func home() throws -> TemporaryFolder {
    let home = try TemporaryFolder("home")
    try home.file("jwt", text: "jwt-of-somebody")
    try home.file(
      "keys",
      text: """
        #!/bin/sh
        [ "$*" = "--for a b c" ] || exit 3
        echo '{"Version": 1, "AccessKeyId": "AKIAPROG", "SecretAccessKey": "s\\u002fx",'
        echo ' "SessionToken": "t", "Expiration": "2099-01-01T00:00:00+00:00"}'
        """)
    try home.file("fails", text: "#!/bin/sh\necho 'no luck today' >&2\nexit 7\n")
    for name in ["keys", "fails"] { chmod(home.path(name), 0o755) }
    func signOn(_ key: String, _ text: String) throws {
      try home.file(".aws/sso/cache/\(sha1(key)).json", text: text)
    }
    let good = "\"accessToken\": \"good-token\", \"expiresAt\": \"2099-01-01T00:00:00Z\""
    try signOn("https://corp", "{\(good), \"startUrl\": \"https://corp\"}")
    try signOn("corp", "{\(good)}")
    try signOn(
      "https://old", "{\"accessToken\": \"bad\", \"expiresAt\": \"2001-01-01T00:00:00Z\"}")
    return home
  }

  private func sha1(_ text: String) throws -> String {
    let line = try CommandResult.check(["sh", "-c", "printf %s \"$1\" | sha1sum", "sh", text])
    return String(line.output.prefix { $0 != " " })
  }

  private func quoted(_ text: String) -> String { JSONValue.text(text).json }

  private func resolve(
    _ one: Case, _ environment: [String: String]
  ) -> Result<ResolvedAccess, StoreError> {
    do throws(StoreError) {
      return .success(
        try CredentialsResolver(
          options: CredentialsOptions(profile: one.profile), environment: environment
        ).resolve(for: "s3://b"))
    } catch {
      return .failure(error)
    }
  }

  @Test(.enabled(if: requireOrSkip(.servers))) func everySourceGivesWhatBotocoreFinds() throws {
    let services = try KeyServices()
    let home = try home()
    let cases = Self.cases(services.url, home.path)
    var lines = ""
    var environments: [[String: String]] = []
    for (index, one) in cases.enumerated() {
      let variables = services.environment(home: home.path).merging([
        "AWS_CONFIG_FILE": try home.file("\(index)/config", text: one.config),
        "AWS_SHARED_CREDENTIALS_FILE": try home.file("\(index)/keys", text: one.credentials),
      ]) { $1 }.merging(one.environment) { $1 }
      environments.append(variables)
      let members = variables.map { "\(quoted($0.key)): \(quoted($0.value))" }
      lines +=
        "{\"environment\": {\(members.joined(separator: ", "))}, "
        + "\"profile\": \(one.profile.map(quoted) ?? "null")}\n"
    }
    let input = try home.file("cases", text: lines)
    let python = try VirtualEnvironment.shared().python
    let answers = try CommandResult.check(
      ["sh", "-c", "exec \(python) \(Checkout.tools)/keys.py resolve < \(input)"],
      // botocore looks for the home once.
      environment: ["HOME": home.path], within: .seconds(120)
    ).output.split(separator: "\n").map { try JSONValue(Array($0.utf8)) }
    try #require(answers.count == cases.count)
    for (index, one) in cases.enumerated() {
      let ours = resolve(one, environments[index])
      let theirs = answers[index]
      switch ours {
      case .success(let access):
        let keys = try #require(access.credentials)
        #expect(one.complaint == nil, "\(one.name): \(keys)")
        #expect(keys.accessKeyID == theirs.text("id"), "\(one.name): \(theirs)")
        #expect(keys.secretAccessKey == theirs.text("secret"), "\(one.name)")
        #expect(keys.sessionToken == theirs.text("token"), "\(one.name)")
        access.provider.shutdown()
      case .failure(let error):
        let complaint = one.complaint ?? "-"
        #expect(error.description.contains(complaint), "\(one.name): \(error), \(theirs)")
        #expect(theirs.text("error") != nil, "\(one.name): \(theirs)")
        #expect(error.kind == .badCredentials, "\(one.name): \(error)")
      }
    }
  }

  @Test func aSignOnIsRenewedAndKeptWhereTheToolsLookForIt() throws {
    let services = try KeyServices()
    let home = try TemporaryFolder("home")
    let config = try home.file(
      "config",
      text: "[default]\nsso_session = corp\nsso_account_id = 1\nsso_role_name = r\n"
        + "[sso-session corp]\nsso_start_url = https://corp\nsso_region = us-east-1\n")
    let cache = try home.file(
      ".aws/sso/cache/\(sha1("corp")).json",
      text: "{\"accessToken\": \"stale\", \"expiresAt\": \"2001-01-01T00:00:00Z\", "
        + "\"refreshToken\": \"good-refresh\", \"clientId\": \"c\", "
        + "\"clientSecret\": \"client-secret\", \"region\": \"us-east-1\"}")
    var variables = services.environment(home: home.path)
    variables["AWS_CONFIG_FILE"] = config
    let access = try CredentialsResolver(options: CredentialsOptions(), environment: variables)
      .resolve(for: "s3://b")
    #expect(access.credentials?.accessKeyID.hasPrefix("ASIA") == true)
    access.provider.shutdown()
    let kept = try JSONValue(Array(readText(cache).utf8))
    #expect(kept.text("accessToken") == "renewed-token")
    #expect(kept.text("region") == "us-east-1")
    var status = stat()
    #expect(stat(cache, &status) == 0 && status.st_mode & 0o77 == 0)
  }

  @Test func theRegionIsTheInstancesWhereNothingElseSaysIt() throws {
    let services = try KeyServices()
    let home = try TemporaryFolder("home")
    var variables = services.environment(home: home.path)
    variables["AWS_EC2_METADATA_DISABLED"] = nil
    variables["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = services.url + "/"
    variables["AWS_DEFAULT_REGION"] = nil
    let access = try CredentialsResolver(options: CredentialsOptions(), environment: variables)
      .resolve(for: "s3://b")
    #expect(access.region == "eu-central-7")
    #expect(access.credentials?.source == "instance role")
    access.provider.shutdown()
  }

  @Test(.enabled(if: requireOrSkip(.root)))
  func rootRunsNoProgramThatAnotherUsersFileNames() throws {
    let home = try TemporaryFolder("home")
    let script = try home.file("keys", text: "#!/bin/sh\necho ran > \(home.path)/ran\nexit 1\n")
    #expect(chmod(script, 0o755) == 0)
    let config = try home.file("config", text: "[default]\ncredential_process = \(script)\n")
    let environment = [
      "HOME": home.path, "AWS_CONFIG_FILE": config, "AWS_EC2_METADATA_DISABLED": "true",
    ]
    #expect(chown(config, 65533, 65533) == 0)
    let refused = resolve(Case(name: "foreign"), environment)
    #expect("\(refused)".contains("belongs to another user") && !fileExists(home.path("ran")))
    #expect(chown(config, 0, 0) == 0)
    _ = resolve(Case(name: "own"), environment)
    #expect(fileExists(home.path("ran")))
  }

  @Test func aProgramThatDoesNotEndIsEndedWithItsChildren() throws {
    let folder = try TemporaryFolder("program")
    let script = try folder.file(
      "slow", text: "#!/bin/sh\nsleep 600 & echo $! > \(folder.path)/child\nwait\n")
    chmod(script, 0o755)
    #expect(throws: ProgramRun.Failed.self) {
      try ProgramRun.run([script], until: .now + .milliseconds(500))
    }
    let child = try #require(
      pid_t(readText(folder.path("child")).filter(\.isNumber)), "it had begun")
    let isGone = waitFor(within: .seconds(10)) { () -> Bool? in
      // A zombie waits for init, which is not ours.
      let state = (try? readText("/proc/\(child)/stat"))?.split(separator: ")").last
      return state == nil || state!.hasPrefix(" Z") ? true : nil
    }
    #expect(isGone == true)
  }

  @Test func addressesThatSecretsMayBeAskedOf() {
    for good in [
      "https://anywhere/x", "http://127.0.0.1/x", "http://127.9.9.9:80/x", "http://localhost:1/",
      "http://169.254.170.2/v2", "http://169.254.170.23/v1", "http://[fd00:ec2::23]/v1",
      "http://[::1]:9/x",
    ] {
      #expect(ContainerSource.isAllowed(good), "\(good)")
    }
    for bad in [
      "http://192.0.2.1/", "http://169.254.170.2@evil/", "http://127.0.0.1.evil/", "ftp://x/",
      "http://[::2]/", "http://", "https://", "127.0.0.1", "http://localhost.evil/",
    ] {
      #expect(!ContainerSource.isAllowed(bad), "\(bad)")
    }
  }
}
