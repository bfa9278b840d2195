import Posix

/// Which addresses a site may send its readers to. A redirect or a manifest's address is the server's word: without
/// this it could have a daemon send requests to services of this machine or of its private network. The address that
/// is connected to is looked at, and not the name, which may be resolved to another address the next time.
public final class PeerPolicy: Sendable {
  /// How near an address is; from one place nothing nearer is followed.
  public enum Nearness: Int, Sendable, Comparable {
    case everywhere, privateNetwork, thisMachine
    /// Services of a cloud's machine, neighbours on the wire: followed from nowhere.
    case link

    public static func < (left: Nearness, right: Nearness) -> Bool {
      left.rawValue < right.rawValue
    }
  }

  private let own: Lock<Nearness>

  /// `own`: of the site that is mounted, as far as it is known before the first connection.
  public init(own: Nearness = .everywhere) { self.own = Lock(own) }

  /// `host` as in an address: a literal address or "localhost" is known at once.
  public convenience init(host: String) {
    let bare = host.hasPrefix("[") ? String(host.dropFirst().prefix { $0 != "]" }) : host
    let isLocal = bare == "localhost" || bare.hasSuffix(".localhost")
    self.init(
      own: isLocal ? .thisMachine : PeerAddress(literal: bare)?.nearness ?? .everywhere)
  }

  /// The site itself was found there: by a proxy, a private network, this machine.
  public func recordOwn(_ nearness: Nearness) { own.withLock { $0 = max($0, nearness) } }

  /// A loopback address or name.
  public var isThisMachine: Bool { own.withLock { $0 == .thisMachine } }

  public func allows(_ nearness: Nearness) -> Bool {
    nearness == .everywhere || nearness <= own.withLock { $0 }
  }
}

/// Whose address a request goes to.
public enum RequestPeer: Sendable {
  /// Named by the user: any address.
  case user
  /// The site that is mounted: any address, and what it is decides what it may send to.
  case own(PeerPolicy)
  /// Named by the site's answers.
  case named(by: PeerPolicy)
}
