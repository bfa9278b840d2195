import Glibc
import Posix
import TestSupport

/// A client of a unix socket, byte by byte.
final class SocketClient {
  let descriptor: CInt
  private var received: [UInt8] = []

  init(_ path: String) throws {
    let raw = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
    descriptor = raw
    let address = try UnixSocketAddress(path.utf8)
    let result = waitFor(within: .seconds(30)) { () -> Bool? in
      address.withPointer { connect(raw, $0, $1) } == 0 ? true : nil
    }
    guard result == true else { throw SupportError("cannot connect to \(path): errno \(errno)") }
    var patience = timeval(tv_sec: 30, tv_usec: 0)
    setsockopt(raw, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
  }

  deinit { close(descriptor) }

  func send(_ text: String) {
    let bytes = Array(text.utf8)
    _ = Glibc.send(descriptor, bytes, bytes.count, CInt(MSG_NOSIGNAL))
  }

  func finishSending() { shutdown(descriptor, CInt(SHUT_WR)) }

  /// What came up to and with `end`; nil: the connection ended before.
  func receive(through end: String) -> String? {
    let wanted = Array(end.utf8)
    while true {
      if let range = received.firstRange(of: wanted) {
        let text = String(decoding: received[..<range.upperBound], as: UTF8.self)
        received.removeFirst(range.upperBound)
        return text
      }
      guard receiveMore() else { return nil }
    }
  }

  /// All that comes until the server closes the connection.
  func receiveAll() -> String {
    while receiveMore() {}
    defer { received = [] }
    return String(decoding: received, as: UTF8.self)
  }

  private func receiveMore() -> Bool {
    var buffer = [UInt8](repeating: 0, count: 64 << 10)
    let count = recv(descriptor, &buffer, buffer.count, 0)
    if count > 0 { received += buffer[..<count] }
    return count > 0
  }
}
