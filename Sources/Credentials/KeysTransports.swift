import Logging
import Metrics
import Posix
import Transport

/// The transports of those who ask for credentials. A source makes its own with its first request, which is
/// at the mount, and it is kept: a renewal needs no new thread, epoll or eventfd.
enum KeysTransports {
  /// What differs between services, and is fixed for a transport.
  struct Kind: Hashable {
    /// Of one try.
    var timeout: Duration
    var tries: Int
    var caBundle: String?
  }

  /// A mount has one or two kinds; each takes a thread and two descriptors.
  private static let limit = 8

  private static let kept = Lock<[Kind: Transport]>([:])

  static func transport(_ kind: Kind) -> Transport {
    let (transport, dropped) = kept.withLock { kept -> (Transport, Transport?) in
      if let known = kept[kind] { return (known, nil) }
      var dropped: Transport?
      if kept.count >= limit, let other = kept.keys.first {
        dropped = kept.removeValue(forKey: other)
      }
      let made = make(kind)
      kept[kind] = made
      return (made, dropped)
    }
    // Ends outside the lock, once its last request has.
    withExtendedLifetime(dropped) {}
    return transport
  }

  private static func make(_ kind: Kind) -> Transport {
    var configuration = TransportConfiguration()
    configuration.connectTimeout = min(kind.timeout, .seconds(5))
    configuration.firstByteTimeout = kind.timeout
    configuration.stallTimeout = kind.timeout
    configuration.maxConcurrentTransfers = 4
    configuration.maxAttempts = kind.tries
    configuration.hedges = false
    configuration.adaptsTimeouts = false
    configuration.lookUp = nil
    configuration.caBundle = kind.caBundle
    // Its requests are not the mount's: they are counted nowhere.
    return Transport(
      configuration: configuration, metrics: Metrics().store,
      log: Logger(label: "credentials", factory: { _ in SwiftLogNoOpLogHandler() }))
  }
}
