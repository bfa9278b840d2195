import CProcessShim
import Glibc
import Posix
import SystemPackage

/// Where an HTTP server listens, and whose connections it takes.
enum ServerAddress: Sendable {
  /// At most 107 bytes, in a directory that only its owner can enter; what is there is replaced. Connections of
  /// this process's user and of root are taken; the kernel refuses others first, by the socket's mode.
  case unix(path: String)
  /// A numeric IPv4 or IPv6 address. All clients that reach it are served. Port 0: one that is free.
  case internet(host: String, port: UInt16)

  struct Failure: Error, CustomStringConvertible {
    var description: String

    init(_ what: String, _ error: Errno = .last) { description = "\(what): \(error)" }
  }

  /// Connections that wait to be accepted.
  private static let backlog: CInt = 128

  func listen() throws(Failure) -> OwnedDescriptor {
    switch self {
    case .unix(let path):
      unlink(path)
      let address: UnixSocketAddress
      do throws(Errno) { address = try UnixSocketAddress(path.utf8) } catch {
        throw Failure(path, error)
      }
      return try Self.listen(AF_UNIX, path) { raw in address.withPointer { Glibc.bind(raw, $0, $1) }
      }
    case .internet(let host, let port):
      let shown = host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
      var four = sockaddr_in()
      four.sin_family = sa_family_t(AF_INET)
      four.sin_port = port.bigEndian
      if inet_pton(AF_INET, host, &four.sin_addr) == 1 {
        return try Self.listen(AF_INET, shown) { Self.bind($0, &four) }
      }
      var six = sockaddr_in6()
      six.sin6_family = sa_family_t(AF_INET6)
      six.sin6_port = port.bigEndian
      guard inet_pton(AF_INET6, host, &six.sin6_addr) == 1 else {
        throw Failure("\(shown) is not an address and a port", .invalidArgument)
      }
      return try Self.listen(AF_INET6, shown) { Self.bind($0, &six) }
    }
  }

  private static func bind<Address>(_ socket: CInt, _ address: inout Address) -> CInt {
    withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        Glibc.bind(socket, $0, socklen_t(MemoryLayout<Address>.size))
      }
    }
  }

  private static func listen(
    _ family: CInt, _ shown: String, _ bind: (CInt) -> CInt
  ) throws(Failure) -> OwnedDescriptor {
    let raw = socket(family, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
    guard raw >= 0 else { throw Failure("socket") }
    let listener = OwnedDescriptor(adopting: raw)
    var isOn: CInt = 1
    let size = socklen_t(MemoryLayout<CInt>.size)
    if family != AF_UNIX { setsockopt(raw, SOL_SOCKET, SO_REUSEADDR, &isOn, size) }
    guard bind(raw) == 0 else { throw Failure("cannot listen on \(shown)") }
    guard Glibc.listen(raw, backlog) == 0 else { throw Failure("cannot listen on \(shown)") }
    return listener
  }

  /// Takes a unix socket's name away, after the last connection was accepted.
  func remove() {
    if case .unix(let path) = self { unlink(path) }
  }

  /// Of a listening socket; 0 for a unix socket.
  static func port(of listener: borrowing OwnedDescriptor) -> UInt16 {
    var address = sockaddr_in6()
    var size = socklen_t(MemoryLayout<sockaddr_in6>.size)
    let raw = listener.raw
    let result = withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(raw, $0, &size) }
    }
    let families = [sa_family_t(AF_INET), sa_family_t(AF_INET6)]
    // The port stands at the same place in both families.
    return result == 0 && families.contains(address.sin6_family)
      ? UInt16(bigEndian: address.sin6_port) : 0
  }

  /// Whether a connection's client may ask.
  func trusts(_ connection: borrowing OwnedDescriptor) -> Bool {
    guard case .unix = self else { return true }
    var user: uid_t = 0
    guard millrace_peer_user(connection.raw, &user) == 0 else { return false }
    return user == geteuid() || user == 0
  }
}
