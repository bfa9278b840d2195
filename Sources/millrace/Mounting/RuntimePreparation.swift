import Glibc
import Posix
import SystemPackage

/// Makes the Swift runtime take what it takes once: libdispatch makes an epoll and an eventfd with the first timer of a
/// task, and ends the process where it cannot. That must not come at a moment when the mount is in use.
enum RuntimePreparation {
  /// Descriptors that must be free before anything is mounted: those of the runtime, the transports, the
  /// cache's folders and the control socket, with room for some connections.
  private static let descriptors = 64

  /// Before the mount is made. Throws where the process has too few descriptors.
  static func run() throws(Failure) {
    do throws(Errno) { try checkDescriptors() } catch {
      throw Failure(
        "cannot mount: \(descriptors) descriptors are needed at least: \(error); \(error.limitAdvice)"
      )
    }
    let isOver = Monitor(false)
    Task {
      try? await Task.sleep(for: .nanoseconds(1))
      isOver.signal(all: true) { $0 = true }
    }
    // A machine without threads keeps the runtime waiting, not the mount.
    _ = isOver.wait(until: .now + .seconds(2)) { $0 ? true : nil }
  }

  private static func checkDescriptors() throws(Errno) {
    var open: [CInt] = []
    defer { for descriptor in open { close(descriptor) } }
    let first = Glibc.open("/dev/null", O_RDONLY | O_CLOEXEC)
    guard first >= 0 else { throw Errno.last }
    open.append(first)
    while open.count < descriptors {
      let next = fcntl(first, F_DUPFD_CLOEXEC, 0)
      guard next >= 0 else { throw Errno.last }
      open.append(next)
    }
  }
}
