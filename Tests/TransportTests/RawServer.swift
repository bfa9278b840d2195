import Glibc
import Posix
import Synchronization

/// A TCP server that says exactly the bytes it is told to: for answers that no real server gives.
/// Each connection runs `serve` on a thread of its own and is closed when it returns.
final class RawServer: Sendable {
  let port: UInt16
  private let listener: CInt
  private let state = Lock(State())
  private let accepted = Atomic<Int>(0)

  private struct State {
    var threads: [Thread] = []
    var connections: [RawConnection] = []
  }

  /// `address`: 127.0.0.1 and so on; `port`: 0 for any that is free.
  init(
    address: String = "127.0.0.1", port: UInt16 = 0,
    _ serve: @escaping @Sendable (RawConnection, _ index: Int) -> Void
  ) {
    (listener, self.port) = listenOnLoopback(address, port)
    let thread = Thread(named: "raw-accept") { [unowned self] in acceptAll(serve) }
    state.withLock { $0.threads.append(thread) }
  }

  var url: String { "http://127.0.0.1:\(port)/object" }
  /// Connections taken so far.
  var connections: Int { accepted.load(ordering: .relaxed) }

  func stop() {
    shutdown(listener, CInt(SHUT_RDWR))
    let acceptor = state.withLock { $0.threads.removeFirst() }
    acceptor.join()
    let rest = state.withLock { $0 }
    for connection in rest.connections { connection.hangUp() }
    for thread in rest.threads { thread.join() }
    close(listener)
  }

  private func acceptAll(_ serve: @escaping @Sendable (RawConnection, Int) -> Void) {
    while true {
      let socket = accept(listener, nil, nil)
      guard socket >= 0 else { return }
      let connection = RawConnection(socket)
      let index = accepted.add(1, ordering: .relaxed).oldValue
      let thread = Thread(named: "raw-\(index)") {
        serve(connection, index)
        connection.close()
      }
      state.withLock { state in
        state.connections.append(connection)
        state.threads.append(thread)
      }
    }
  }
}

final class RawConnection: Sendable {
  /// -1 once closed.
  private let socket: Lock<CInt>

  init(_ socket: CInt) { self.socket = Lock(socket) }

  private var descriptor: CInt { socket.withLock { $0 } }

  /// The next request's head and body; nil when the client has gone.
  func readRequest() -> String? {
    var bytes: [UInt8] = []
    while true {
      if let end = endOfHead(bytes) {
        let head = String(decoding: bytes[..<end], as: UTF8.self)
        let length = contentLength(head)
        if bytes.count >= end + length { return String(decoding: bytes, as: UTF8.self) }
      }
      guard let more = readSome() else { return nil }
      bytes += more
    }
  }

  func readSome() -> [UInt8]? {
    var buffer = [UInt8](repeating: 0, count: 65_536)
    let count = recv(descriptor, &buffer, buffer.count, 0)
    return count > 0 ? Array(buffer[..<count]) : nil
  }

  /// False: the client has gone.
  @discardableResult func write(_ text: String) -> Bool { write(Array(text.utf8)) }

  @discardableResult func write(_ bytes: [UInt8]) -> Bool {
    var sent = 0
    while sent < bytes.count {
      let count = bytes.withUnsafeBytes {
        send(descriptor, $0.baseAddress! + sent, $0.count - sent, CInt(MSG_NOSIGNAL))
      }
      if count <= 0 { return false }
      sent += count
    }
    return true
  }

  /// Says nothing until the client gives up.
  func waitForHangUp() { while readSome() != nil {} }

  /// Ends the connection with RST instead of FIN.
  func reset() {
    var option = linger(l_onoff: 1, l_linger: 0)
    setsockopt(
      descriptor, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
    close()
  }

  func hangUp() { socket.withLock { if $0 >= 0 { shutdown($0, CInt(SHUT_RDWR)) } } }

  func close() {
    socket.withLock { socket in
      if socket >= 0 { Glibc.close(socket) }
      socket = -1
    }
  }

  private func endOfHead(_ bytes: [UInt8]) -> Int? {
    guard bytes.count >= 4 else { return nil }
    return (4...bytes.count).first { bytes[($0 - 4)..<$0].elementsEqual([13, 10, 13, 10]) }
  }

  private func contentLength(_ head: String) -> Int {
    for line in head.split(separator: "\r\n") where line.lowercased().hasPrefix("content-length:") {
      return Int(line.dropFirst(15).drop { $0 == " " }) ?? 0
    }
    return 0
  }
}

/// A listening socket on an address of loopback.
private func listenOnLoopback(
  _ text: String = "127.0.0.1", _ port: UInt16 = 0
) -> (CInt, UInt16) {
  let listener = socket(AF_INET, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
  var address = sockaddr_in()
  address.sin_family = sa_family_t(AF_INET)
  address.sin_port = port.bigEndian
  precondition(inet_pton(AF_INET, text, &address.sin_addr) == 1)
  var size = socklen_t(MemoryLayout<sockaddr_in>.size)
  withUnsafeMutablePointer(to: &address) { pointer in
    pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
      precondition(bind(listener, address, size) == 0, "bind: errno \(errno)")
      getsockname(listener, address, &size)
    }
  }
  precondition(listen(listener, 128) == 0)
  return (listener, UInt16(bigEndian: address.sin_port))
}

/// A port on which nobody listens.
func closedPort() -> UInt16 {
  let (listener, port) = listenOnLoopback()
  close(listener)
  return port
}

func answer(
  _ body: String, status: String = "200 OK", headers: String = "", length: Int? = nil
) -> String {
  "HTTP/1.1 \(status)\r\nContent-Length: \(length ?? body.utf8.count)\r\n\(headers)\r\n\(body)"
}
