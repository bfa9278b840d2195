import Glibc
import Posix

/// `count` different ports of 127.0.0.1 that nobody listened on a moment ago, below the range from
/// which the kernel takes the local ports of outgoing connections; so a busy client beside us
/// cannot take one before the server binds it.
public func freePorts(_ count: Int) throws -> [UInt16] {
  var ports: [UInt16] = []
  for _ in 0..<2_000 where ports.count < count {
    let port = UInt16.random(in: 10_240..<32_000)
    if isFree(port) && handedOut.withLock({ $0.insert(port).inserted }) { ports.append(port) }
  }
  guard ports.count == count else { throw SupportError("no \(count) free ports on 127.0.0.1") }
  return ports
}

/// Ports of this process's servers are never given twice.
private let handedOut = Lock<Set<UInt16>>([])

private func loopback(_ port: UInt16) -> sockaddr_in {
  var address = sockaddr_in()
  address.sin_family = sa_family_t(AF_INET)
  address.sin_port = port.bigEndian
  address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
  return address
}

private func withSocket<Result>(
  to port: UInt16, _ body: (CInt, UnsafePointer<sockaddr>, socklen_t) -> Result
) -> Result {
  let socket = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
  defer { close(socket) }
  var address = loopback(port)
  return withUnsafePointer(to: &address) {
    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
      body(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
    }
  }
}

private func isFree(_ port: UInt16) -> Bool { withSocket(to: port) { bind($0, $1, $2) == 0 } }

/// Whether somebody accepts connections on the port of 127.0.0.1.
public func isListening(_ port: UInt16) -> Bool {
  withSocket(to: port) { connect($0, $1, $2) == 0 }
}
