import CProcessShim
import FlyingFox
import FlyingSocks
import Glibc

/// FlyingFox's own pool of sockets, and what it leaves out: no socket of the control server reaches a child process,
/// and none is waited for that another user holds. The kernel refuses others first, since only the owner may write
/// to the socket's file.
struct ControlSocketPool: AsyncSocketPool {
  private let base: any AsyncSocketPool = HTTPServer.defaultPool()

  func prepare() async throws { try await base.prepare() }

  func run() async throws { try await base.run() }

  func suspendSocket(_ socket: Socket, untilReadyFor events: Socket.Events) async throws {
    _ = fcntl(socket.file.rawValue, F_SETFD, FD_CLOEXEC)
    var user: uid_t = 0
    guard millrace_peer_user(socket.file.rawValue, &user) == 0, user == geteuid() || user == 0
    else {
      throw SocketError.disconnected
    }
    try await base.suspendSocket(socket, untilReadyFor: events)
  }
}
