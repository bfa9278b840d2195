import Logging
import Metrics
import ObjectStore
import Posix
import Transport

/// What the requests for credentials of one mount go over: a transport that is made with the first of them, which is at
/// the mount, and kept. So a renewal needs no new thread, epoll or eventfd, and where no service gives the credentials
/// there is no thread at all.
///
/// Two in the rare case that one source trusts a CA bundle and another the system's authorities.
public final class CredentialsTransport: Sendable {
  private let transports = Lock<[String?: Transport]>([:])

  init() {}

  /// `caBundle`: PEM file of those who may sign the service's certificate; nil: the system's.
  func start(
    _ exchange: any Exchange, deadline: Instant, limits: ExchangeLimits, caBundle: String?
  ) {
    transport(caBundle).start(exchange, deadline: deadline, limits: limits)
  }

  private func transport(_ caBundle: String?) -> Transport {
    if let known = transports.withLock({ $0[caBundle] }) { return known }
    // It starts a thread: not under the lock. Of two that are made at once one goes again.
    let made = Self.make(caBundle)
    return transports.withLock { transports in
      if let known = transports[caBundle] { return known }
      transports[caBundle] = made
      return made
    }
  }

  private static func make(_ caBundle: String?) -> Transport {
    var configuration = TransportConfiguration()
    configuration.maxConcurrentTransfers = 4
    configuration.hedges = false
    configuration.adaptsTimeouts = false
    configuration.lookUp = nil
    configuration.caBundle = caBundle
    // Its requests are not the mount's: they are counted nowhere.
    return Transport(
      configuration: configuration, metrics: Metrics().store,
      log: Logger(label: "credentials", factory: { _ in SwiftLogNoOpLogHandler() }))
  }
}
