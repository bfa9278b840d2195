import Glibc
import ObjectStore
import Posix

/// One place that gives keys. Asked on a thread that may wait: at the mount, and for each renewal.
protocol CredentialsSource: Sendable {
  /// For messages: "profile train", "instance role".
  var name: String { get }

  /// Asking again may give others. Not so for keys of the environment, which cannot change.
  var isRenewable: Bool { get }

  /// Throws `.badCredentials` where the place says no, and `.unreachable`, `.timedOut` or `.serverFailure`
  /// where it may say yes later.
  func fetch(deadline: Instant) throws(StoreError) -> Credentials
}

extension CredentialsSource {
  var isRenewable: Bool { true }

  func refused(_ detail: String, advice: String = "") -> StoreError {
    StoreError(.badCredentials, store: name, detail: detail, advice: advice)
  }
}

/// Keys that are known already.
struct FixedSource: CredentialsSource {
  let credentials: Credentials
  var name: String { credentials.source }
  var isRenewable: Bool { false }

  func fetch(deadline: Instant) throws(StoreError) -> Credentials { credentials }
}

/// Keys in one of the two files, read anew each time: tools rewrite them while a mount lives.
struct FileSource: CredentialsSource {
  let profile: String
  let environment: [String: String]
  /// In the credentials file, else in the config file.
  let isShared: Bool

  var name: String { "profile \(profile)" }

  func fetch(deadline: Instant) throws(StoreError) -> Credentials {
    let files = try AWSFiles(environment: environment, store: name)
    let section = isShared ? files.credentials.sections[profile] : files.config.profile(profile)
    guard let keys = try Self.keys(in: section, source: name) else {
      throw refused("the profile no longer has credentials")
    }
    return keys
  }

  /// `nil`: none are there. Half a pair is an error.
  static func keys(
    in section: ProfileFile.Section?, source: String
  ) throws(StoreError) -> Credentials? {
    guard let section, let id = section.text("aws_access_key_id") else { return nil }
    guard let secret = section.text("aws_secret_access_key") else {
      throw StoreError(
        .badCredentials, store: source,
        detail: "\(source) has aws_access_key_id but no aws_secret_access_key")
    }
    let token = section.text("aws_security_token") ?? section.text("aws_session_token")
    return try Credentials(
      accessKeyID: id, secretAccessKey: secret, sessionToken: token, source: source
    ).checked()
  }
}

extension Credentials {
  /// Credentials go into a header: characters that are invalid there are reported before a request is sent.
  func checked() throws(StoreError) -> Credentials {
    func isClean(_ text: String) -> Bool { text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F } }
    guard !accessKeyID.isEmpty, !secretAccessKey.isEmpty, isClean(accessKeyID),
      isClean(secretAccessKey), isClean(sessionToken ?? "")
    else {
      throw StoreError(
        .badCredentials, store: source,
        detail:
          "the credentials from \(source) contain a space, a line break or another character that credentials "
          + "never contain", advice: "copy them again")
    }
    return self
  }
}
