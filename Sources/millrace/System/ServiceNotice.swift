import Glibc
import Posix
import SystemPackage

/// What a service manager hears of a mount (sd_notify(3)): that it is usable, that it ends, and that the daemon still
/// answers the kernel.
struct ServiceNotice: Sendable {
  private let address: [UInt8]
  /// How often WATCHDOG=1 is due: half of what the manager waits for.
  let interval: Duration?
  private let isOver = Monitor(false)

  /// nil: no manager waits for a notice.
  init?(_ environment: [String: String]) {
    guard let text = environment["NOTIFY_SOCKET"], let first = text.utf8.first, text.utf8.count > 1,
      first == UInt8(ascii: "/") || first == UInt8(ascii: "@")
    else { return nil }
    // "@" stands for the null byte of an abstract address.
    address = [first == UInt8(ascii: "@") ? 0 : first] + text.utf8.dropFirst()
    let isOurs = environment["WATCHDOG_PID"].map { $0 == "\(getpid())" } ?? true
    interval = environment["WATCHDOG_USEC"].flatMap { isOurs ? Int64($0) : nil }
      .flatMap { $0 > 1 ? .microseconds($0 / 2) : nil }
  }

  /// The mount is usable. `status`: one line for `systemctl status`.
  func ready(_ status: String) {
    send("READY=1\nSTATUS=\(status.split(whereSeparator: \.isNewline).joined(separator: " "))")
  }

  func stopping() {
    isOver.signal(all: true) { $0 = true }
    send("STOPPING=1")
  }

  /// Sends WATCHDOG=1 for as long as the daemon answers statvfs(3) at `mountPoint`, which the kernel never answers
  /// from memory and which needs no store. Throws where the machine gives no thread.
  func watch(_ mountPoint: String) throws(Errno) {
    guard let interval else { return }
    _ = try Thread.start(named: "watchdog") { [self] in
      while isOver.wait(until: .now + interval, for: { $0 ? true : nil }) == nil {
        var status = statvfs()
        if statvfs(mountPoint, &status) == 0 { send("WATCHDOG=1") }
      }
    }
  }

  private func send(_ text: String) {
    guard let address = try? UnixSocketAddress(address) else { return }
    let socket = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard socket >= 0 else { return }
    defer { close(socket) }
    _ = address.withPointer { sendto(socket, text, text.utf8.count, Int32(MSG_NOSIGNAL), $0, $1) }
  }
}
