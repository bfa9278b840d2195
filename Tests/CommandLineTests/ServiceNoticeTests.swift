import Glibc
import Posix
import TestSupport
import Testing

@testable import millrace

/// A service manager's socket, as systemd makes one for each unit of Type=notify.
@Suite struct ServiceNoticeTests {
  /// A datagram socket at `path`, which is a null byte and a name for an abstract one.
  private func listen(_ path: [UInt8]) -> CInt {
    let socket = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
    let address = try? UnixSocketAddress(path)
    #expect(address?.withPointer { bind(socket, $0, $1) } == 0)
    return socket
  }

  private func receive(_ socket: CInt) -> String {
    var bytes = [UInt8](repeating: 0, count: 4096)
    let count = recv(socket, &bytes, bytes.count, 0)
    return String(decoding: bytes.prefix(max(count, 0)), as: UTF8.self)
  }

  @Test func theManagerHearsOfTheBeginningAndTheEnd() throws {
    let folder = try TemporaryFolder("notify")
    let path = folder.path("socket")
    let socket = listen(Array(path.utf8))
    defer { close(socket) }
    let notice = try #require(ServiceNotice(["NOTIFY_SOCKET": path]))
    notice.ready("Mounted a\nb")
    #expect(receive(socket) == "READY=1\nSTATUS=Mounted a b")
    notice.stopping()
    #expect(receive(socket) == "STOPPING=1")
  }

  @Test func anAbstractSocketHearsTheWatchdog() throws {
    let name = "millrace-test-\(getpid())"
    let socket = listen([0] + Array(name.utf8))
    defer { close(socket) }
    let notice = try #require(
      ServiceNotice(["NOTIFY_SOCKET": "@" + name, "WATCHDOG_USEC": "20000"]))
    #expect(notice.interval == .milliseconds(10))
    try notice.watch("/")
    for _ in 0..<3 { #expect(receive(socket) == "WATCHDOG=1") }
    notice.stopping()
  }

  @Test func withoutAManagerNothingIsSent() {
    #expect(ServiceNotice([:]) == nil)
    #expect(ServiceNotice(["NOTIFY_SOCKET": ""]) == nil)
    #expect(
      ServiceNotice(["NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "5", "WATCHDOG_PID": "1"])?.interval
        == nil)
  }
}
