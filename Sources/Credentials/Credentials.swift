/// Where keys come from, and how requests are signed with them.
///
/// The command line resolves once (`CredentialsResolver`), which finds a `CredentialsSource`: a file, a
/// program, a role, a service. A store asks a `CredentialsProvider` as each request leaves and signs with
/// `SigV4Signer`; `RenewingCredentials` asks the source again ahead of expiry, on a thread of its own. Where requests
/// must wait for that, a `ReadinessSignal` lets them go. All sources of a provider share one `CredentialsTransport`.
import Formats
public import ObjectStore
public import Transport

/// Keys that a request is signed with.
public struct Credentials: Sendable, Equatable {
  public var accessKeyID: String
  public var secretAccessKey: String
  public var sessionToken: String?
  /// Which place they came from, for `doctor` and messages: "environment", "profile train".
  public var source: String
  /// Seconds since 1970; `nil`: they are valid until revoked.
  public var expires: Int64?

  public init(
    accessKeyID: String, secretAccessKey: String, sessionToken: String? = nil, source: String,
    expires: Int64? = nil
  ) {
    self.accessKeyID = accessKeyID
    self.secretAccessKey = secretAccessKey
    self.sessionToken = sessionToken
    self.source = source
    self.expires = expires
  }

  /// The same keys, whenever and from wherever they came.
  func areSame(as other: Credentials) -> Bool {
    accessKeyID == other.accessKeyID && secretAccessKey == other.secretAccessKey
      && sessionToken == other.sessionToken
  }
}

/// Messages and logs never show a secret, whatever code prints the value.
extension Credentials: CustomStringConvertible, CustomDebugStringConvertible {
  public var description: String {
    let until = expires.map { ", until \(UTCTime.text($0))" } ?? ""
    return "credentials \(accessKeyID.prefix(4))… from \(source)\(until)"
  }
  public var debugDescription: String { description }
}

/// The keys of this moment.
public enum CredentialsNow: Sendable, Equatable {
  /// Requests go out unsigned.
  case unsigned
  case keys(Credentials)
  /// There are none until a renewal that is under way has ended, which the signal says: then ask again. What it waits
  /// for, for messages.
  case renewing(String, ReadinessSignal)
}

/// Gives the keys of this moment. Asked on the transport's thread as each request leaves: nothing here
/// may block; a provider that renews does so on a thread of its own.
public protocol CredentialsProvider: Sendable {
  /// Throws `.badCredentials` if there are no keys and the last try to get some failed.
  func current() throws(StoreError) -> CredentialsNow

  /// The store refused these keys as expired or unknown. True: others are there or on their way, so
  /// that it is worth asking again.
  func renew(insteadOf refused: Credentials) -> Bool

  /// Ends its threads. Nothing is asked afterwards.
  func shutdown()
}

/// Keys that never change, or none.
public struct FixedCredentials: CredentialsProvider {
  private let credentials: Credentials?

  public init(_ credentials: Credentials?) { self.credentials = credentials }

  public func current() throws(StoreError) -> CredentialsNow {
    credentials.map { .keys($0) } ?? .unsigned
  }

  public func renew(insteadOf refused: Credentials) -> Bool { false }

  public func shutdown() {}
}
