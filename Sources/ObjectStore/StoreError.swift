/// Why a store did not do what was requested, described so that a user can act on it.
public struct StoreError: Error, Sendable, Equatable, CustomStringConvertible {
  public enum Kind: Sendable, Equatable {
    case notFound
    /// The bucket, site or folder itself is not there.
    case noSuchStore
    case accessDenied
    /// The keys are unknown to the store, malformed or expired.
    case badCredentials
    /// The object is no longer the version asked for.
    case changed
    case archived
    /// No connection: name, route, refused, TLS.
    case unreachable
    case tls
    /// The deadline passed before the store had answered.
    case timedOut
    case throttled
    /// The store failed (5xx), and went on failing when asked again.
    case serverFailure
    /// The answer was not what the protocol allows: length, range, syntax.
    case badReply
    case unsupported
    case invalidSource
    case cancelled
  }

  public var kind: Kind
  /// The store as the user wrote it, "s3://bucket".
  public var store: String
  public var key: ObjectKey?
  /// What happened, in the store's or the system's words; never a secret.
  public var detail: String
  /// What the user can try next; empty where there is nothing better than the detail.
  public var advice: String

  public init(
    _ kind: Kind, store: String, key: ObjectKey? = nil, detail: String, advice: String = ""
  ) {
    self.kind = kind
    self.store = store
    self.key = key
    self.detail = detail
    self.advice = advice
  }

  /// One line: what failed, on which key and store, and what to try.
  public var description: String {
    var line = store
    if let key { line += key.bytes.isEmpty ? "" : "/\(key)" }
    line += ": \(detail)"
    if !advice.isEmpty { line += "; \(advice)" }
    return line
  }
}
