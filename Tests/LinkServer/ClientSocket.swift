import Glibc

/// A connection to a server, which waits 30 seconds for an answer at most; nil: nobody listens. The caller's
/// to close.
func connectedSocket(host: String, port: UInt16) -> CInt? {
  let socket = socket(AF_INET, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
  var patience = timeval(tv_sec: 30, tv_usec: 0)
  setsockopt(
    socket, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
  var address = sockaddr_in()
  address.sin_family = sa_family_t(AF_INET)
  address.sin_port = port.bigEndian
  inet_pton(AF_INET, host, &address.sin_addr)
  let result = withUnsafePointer(to: &address) { pointer in
    pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
      Glibc.connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
    }
  }
  if result == 0 { return socket }
  close(socket)
  return nil
}
