import CCurlShim
import Glibc
import Posix

/// Which address of its host a request goes to.
extension TransferLoop {
  func chooseAddress(for transfer: Transfer, _ request: HTTPRequest, avoiding slow: String?) {
    guard spreads, request.unixSocketPath == nil, let host = HostAddressPool.Host(request.origin)
    else {
      return
    }
    let now = Instant.now
    if lookUps < Self.mostLookUps, addresses.mustLookUp(host, now: now) { lookUp(host) }
    if let address = addresses.acquire(host, avoiding: slow, now: now) {
      transfer.connect(to: address, of: host)
    }
  }

  /// Under way at once: a name server may not answer.
  static let mostLookUps = 4

  /// By the pool: requests go where libcurl sends them until the answer is there. Where the pool has no
  /// thread they go on so until the name is due again.
  private func lookUp(_ host: HostAddressPool.Host) {
    guard let lookUp = configuration.lookUp, let lookUpPool else { return }
    let isTaken = lookUpPool.submit { [mailbox] in mailbox.lookedUp(host, lookUp(host.name)) }
    if isTaken { lookUps += 1 }
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
