import CCurlShim
import Glibc
import Posix

/// Which address of its host a request goes to: looks names up on threads of its own, and spreads the requests over
/// what they have (`HostAddressPool`).
///
/// Belongs to the thread of its loop; what was looked up comes by the loop's mailbox.
final class AddressResolver {
  /// Under way at once: a name server may not answer.
  private static let lookUpsMax = 4

  private let mailbox: Mailbox
  /// Nil: libcurl is left to choose.
  private let lookUp: (@Sendable (_ name: String) -> [String])?
  /// Abandoned, not waited for: a name server may not answer.
  private let threads: WorkerPool?
  private var addresses = HostAddressPool()
  private var lookUps = 0

  init(_ configuration: TransportConfiguration, mailbox: Mailbox) {
    self.mailbox = mailbox
    // A proxy has its own idea of where a name leads.
    let proxies: [String] = ["http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]
    let spreads = proxies.allSatisfy { getenv($0) == nil }
    lookUp = spreads ? configuration.lookUp : nil
    threads =
      lookUp == nil
      ? nil : WorkerPool(named: "name-lookup", threads: 2, queueLimit: Self.lookUpsMax)
  }

  deinit { threads?.abandon() }

  /// Nil: libcurl is to connect by its own lights. `avoiding`: the address of a request that is too slow.
  func acquire(
    for request: HTTPRequest, avoiding slow: String?
  ) -> (host: HostAddressPool.Host, address: String)? {
    guard lookUp != nil, request.unixSocketPath == nil,
      let host = HostAddressPool.Host(request.origin)
    else { return nil }
    let now = Instant.now
    if lookUps < Self.lookUpsMax, addresses.mustLookUp(host, now: now) { begin(host) }
    return addresses.acquire(host, avoiding: slow, now: now).map { (host, $0) }
  }

  /// The request that was sent to `address` is over. `failed`: it could not be connected to.
  func release(_ address: String, of host: HostAddressPool.Host, failed: Bool) {
    addresses.release(address, of: host, failed: failed, now: .now)
  }

  /// What names have that were looked up.
  func lookedUp(_ results: [(host: HostAddressPool.Host, addresses: [String])]) {
    for (host, list) in results { addresses.lookedUp(host, list, now: .now) }
    lookUps -= results.count
  }

  /// By the pool: requests go where libcurl sends them until the answer is there. Where the pool has no
  /// thread they go on so until the name is due again.
  private func begin(_ host: HostAddressPool.Host) {
    guard let lookUp, let threads else { return }
    let isAccepted = threads.submit { [mailbox] in mailbox.lookedUp(host, lookUp(host.name)) }
    if isAccepted { lookUps += 1 }
  }
}

extension HostAddressPool.Host {
  /// Of "https://host:port"; nil for an address in place of a name.
  init?(_ origin: String) {
    let isSecure = origin.hasPrefix("https://")
    guard isSecure || origin.hasPrefix("http://") else { return nil }
    let rest = origin.dropFirst(isSecure ? 8 : 7)
    guard !rest.hasPrefix("[") else { return nil }
    let parts = rest.split(separator: ":", maxSplits: 1)
    guard let name = parts.first.map(String.init), !name.isEmpty else { return nil }
    var address = in_addr()
    if inet_pton(AF_INET, name, &address) == 1 { return nil }
    self.name = name.lowercased()
    if parts.count == 2 {
      guard let port = Int(parts[1]) else { return nil }
      self.port = port
    } else {
      port = isSecure ? 443 : 80
    }
  }
}

/// The addresses that the system's resolver knows of a name and this machine has one of its own kind
/// for: IPv4 if there are any, else IPv6. Of both kinds one may lead nowhere, which only libcurl's own
/// connecting finds out without a wait.
@Sendable public func addresses(ofName name: String) -> [String] {
  let found = addresses(ofName: name, AF_INET)
  return found.isEmpty ? addresses(ofName: name, AF_INET6) : found
}

private func addresses(ofName name: String, _ family: CInt) -> [String] {
  var hints = addrinfo()
  hints.ai_family = family
  hints.ai_flags = AI_ADDRCONFIG
  hints.ai_socktype = CInt(SOCK_STREAM.rawValue)
  var list: UnsafeMutablePointer<addrinfo>?
  guard getaddrinfo(name, nil, &hints, &list) == 0 else { return [] }
  defer { freeaddrinfo(list) }
  var found: [String] = []
  var next = list
  while let entry = next {
    var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
    let result = getnameinfo(
      entry.pointee.ai_addr, entry.pointee.ai_addrlen, &text, socklen_t(text.count), nil, 0,
      NI_NUMERICHOST)
    let bytes = text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:))
    if result == 0 { found.append(String(decoding: bytes, as: UTF8.self)) }
    next = entry.pointee.ai_next
  }
  return found
}
