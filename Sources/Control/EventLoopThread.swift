import CProcessShim
import Glibc
import NIOCore
import NIOPosix
import Posix
import SystemPackage

/// An event loop of SwiftNIO on a thread of ours. SwiftNIO's own threads end the process where the machine has
/// none to give.
enum EventLoopThread {
  /// Throws where there is no thread, epoll, eventfd or timer for it. SwiftNIO ends the process if they go between this
  /// look and its own call: so call it before anything is mounted. The loop's `shutdownGracefully`, called once, ends the
  /// thread.
  static func start(named name: String) throws(Errno) -> any EventLoop {
    if millrace_has_event_descriptors() != 0 { throw Errno.last }
    let made = Monitor<(any EventLoop)?>(nil)
    let thread = try Thread.start(named: name) {
      MultiThreadedEventLoopGroup.withCurrentThreadAsEventLoop { loop in
        made.signal { $0 = loop }
      }
    }
    thread.detach()
    let loop = made.wait { $0 }
    closeEpollsInChildren()
    return loop!
  }

  /// SwiftNIO makes its epoll without EPOLL_CLOEXEC.
  private static func closeEpollsInChildren() {
    for descriptor in openDescriptors()
    where descriptorTarget(descriptor).elementsEqual("anon_inode:[eventpoll]".utf8) {
      _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
    }
  }
}
