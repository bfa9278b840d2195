import Credentials
import Formats
import Glibc
import ObjectStore
import Posix

/// What a site is shown to be let in: the user and password of its address, a bearer token, or what netrc has
/// of its host; in this order. A token in a file is read again when the site refuses it.
public final class HTTPAuthorization: Sendable {
  enum Kind: Sendable {
    /// The whole header, fixed.
    case fixed(String)
    /// A file with a token.
    case tokenFile(String)
  }

  private let kind: Kind?
  private let current: Lock<String?>

  init(_ kind: Kind?) throws(StoreError) {
    self.kind = kind
    switch kind {
    case nil: current = Lock(nil)
    case .fixed(let header): current = Lock(header)
    case .tokenFile(let path): current = Lock(try Self.bearer(ofFile: path))
    }
  }

  /// The header's value. A secret.
  var header: String? { current.withLock { $0 } }

  /// True: there is another one than `refused`, so that it is worth asking again.
  func reload(insteadOf refused: String?) -> Bool {
    guard case .tokenFile(let path) = kind, let fresh = try? Self.bearer(ofFile: path) else {
      return false
    }
    return current.withLock { current in
      current = fresh
      return fresh != refused
    }
  }

  private static func bearer(ofFile path: String) throws(StoreError) -> String {
    "Bearer " + (try SecretText.read(path, what: "the bearer token", source: path))
  }

  /// `wanted`: "HOST" or "HOST:PORT"; nil: any.
  private static func isFor(_ host: String, _ port: Int?, _ wanted: String?) -> Bool {
    guard let wanted = wanted?.lowercased() else { return true }
    return wanted == host || port.map { wanted == "\(host):\($0)" } == true
  }

  /// By the order above. `userInfo`: of the address, percent-decoded.
  static func find(
    userInfo: [UInt8]?, options: HTTPStoreOptions, host: String, port: Int?
  ) throws(StoreError) -> HTTPAuthorization {
    if let userInfo { return try HTTPAuthorization(.fixed("Basic " + Base64.encode(userInfo))) }
    if let token = options.bearerToken, isFor(host, port, options.bearerTokenHost) {
      guard token.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
        throw StoreError(
          .invalidSource, store: host, detail: "the bearer token contains a space or a line break")
      }
      return try HTTPAuthorization(.fixed("Bearer " + token))
    }
    if let file = options.bearerTokenFile { return try HTTPAuthorization(.tokenFile(file)) }
    if let file = options.netrcFile,
      let login = try Netrc.read(file, isOptional: options.netrcIsOptional).login(of: host)
    {
      return try HTTPAuthorization(
        .fixed("Basic " + Base64.encode(Array("\(login.name):\(login.password)".utf8))))
    }
    return try HTTPAuthorization(nil)
  }
}
