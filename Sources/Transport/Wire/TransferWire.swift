import CCurlShim
import Posix
import SystemPackage

/// The requests on the wire: libcurl's handles, those in use and those to be used again, the connections that they
/// share, and the addresses that they go to.
///
/// Belongs to the thread of its loop. libcurl is handed only what may run now: time in its own queue would count
/// against a transfer.
final class TransferWire {
  let addresses: AddressResolver
  private let configuration: TransportConfiguration
  private let share: UnsafeMutableRawPointer
  private let multi: CurlMulti
  private var inFlight: [TransferID: Transfer] = [:]
  private var idle: [Transfer] = []
  private var lastNumber: UInt64 = 0
  /// Since when no exchange has been live; nil while one is.
  private var idleSince: Instant?
  private var mayHaveConnections = false

  /// Throws where the machine gives no descriptor or no memory.
  init(_ configuration: TransportConfiguration, mailbox: Mailbox) throws(Errno) {
    multi = try CurlMulti(
      wakeUp: mailbox.wakeUp,
      maxConnections: max(configuration.maxIdleConnections, configuration.maxConcurrentTransfers))
    guard let share = curl_share_init() else { throw .noMemory }
    // One thread: no lock functions. TLS sessions are resumed whichever handle began them.
    _ = millrace_share(share, CURL_LOCK_DATA_SSL_SESSION)
    _ = millrace_share(share, CURL_LOCK_DATA_DNS)
    self.share = share
    self.configuration = configuration
    addresses = AddressResolver(configuration, mailbox: mailbox)
  }

  deinit {
    idle = []
    curl_share_cleanup(share)
  }

  func transfer(_ id: TransferID) -> Transfer? { inFlight[id] }

  /// Sends a request. `besides`: it is the hedge of that transfer, and goes another way.
  func send(
    _ request: HTTPRequest, _ attempt: Transfer.Attempt, limits: ExchangeLimits,
    besides slow: Transfer? = nil
  ) throws(TransferFailure) -> Transfer {
    let transfer = idle.popLast() ?? Transfer(configuration, share: share)
    lastNumber += 1
    do throws(TransferFailure) {
      try transfer.prepare(
        request, attempt, id: TransferID(number: lastNumber), limits: limits)
    } catch {
      idle.append(transfer)
      throw error
    }
    if let (host, address) = addresses.acquire(for: request, avoiding: slow?.route?.address) {
      transfer.connect(to: address, of: host)
    }
    if slow != nil { transfer.useFreshConnection() }
    inFlight[transfer.id] = transfer
    multi.add(transfer)
    mayHaveConnections = true
    return transfer
  }

  /// Takes a transfer off the wire, which ends it where it is not complete.
  func release(_ transfer: Transfer) {
    if let route = transfer.route {
      addresses.release(route.address, of: route.host, failed: transfer.couldNotConnect)
    }
    multi.remove(transfer)
    inFlight[transfer.id] = nil
    transfer.recycle()
    idle.append(transfer)
  }

  /// Waits until something happens or `instant` has come, and lets libcurl act on it.
  func run(until instant: Instant) { multi.run(until: min(instant, closingTime)) }

  /// A transfer that libcurl has ended; still to be released.
  func nextCompleted() -> (Transfer, CURLcode)? { multi.nextCompleted() }

  // MARK: Idle connections

  private var closingTime: Instant {
    idleSince.map { $0 + configuration.closeIdleAfter } ?? .distantFuture
  }

  /// Once a round of the loop. `isIdle`: there is no exchange.
  func closeIdleConnections(isIdle: Bool) {
    guard isIdle, mayHaveConnections else {
      idleSince = nil
      return
    }
    let now = Instant.now
    if idleSince == nil { idleSince = now }
    guard now >= closingTime else { return }
    idle = []
    multi.closeIdleConnections()
    mayHaveConnections = false
  }

  /// Frees the handles; none may be in flight.
  func shutDown() { idle = [] }
}
