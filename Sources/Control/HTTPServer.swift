import CProcessShim
import Dispatch
import Glibc
import NIOCore
import NIOHTTP1
import NIOPosix
import Posix
import SystemPackage

/// What a server may use, and for how long.
struct HTTPLimits: Sendable {
  /// Those that come when so many are connected wait in the kernel's queue.
  var connections = 64
  /// Bytes of a request's head: its URL and its header fields together.
  var headBytes = 256 << 10
  /// How long a client may be silent, or take nothing of a response.
  var patience = Duration.seconds(60)
  /// A body that trickles is given this many times the patience.
  var patienceForBodies = 10
  /// Whether a connection stays open for further requests.
  var keepsAlive = true
  /// Bytes of all bodies that are being read.
  var bodyBytes: Int
}

/// What a server does with a request. `answer` runs in a task, which is cancelled if the client closes the connection.
struct HTTPService: Sendable {
  let limits: HTTPLimits
  let bodies: RequestBodies
  let threads: AnsweringThreads
  let answer: @Sendable (ControlRequest) async -> ControlResponse
  let begins: @Sendable () -> Void
  let ended: @Sendable () -> Void
}

/// HTTP/1.1 on a unix socket or an address, by four threads that are there before it is needed: one accepts, one
/// is the event loop of all connections, two answer requests.
///
/// SwiftNIO's own accept leaves descriptors open to child processes (2.101), so accepting is done here: no
/// descriptor of this server reaches a child, and a connection of another user is closed before a byte is read.
final class HTTPServer: Sendable {
  /// After trouble that passes, such as too many open files, it is tried again.
  private static let rest = Duration.seconds(1)

  private struct State {
    var start: Start?
    var isStopped = false
    var listener: CInt = -1
    var connections = 0
    /// Those that are set up.
    var channels: [ObjectIdentifier: any Channel] = [:]
    /// Requests that a task answers.
    var answering = 0

    private var loopEnds = false

    /// True once, when nothing uses the event loop any more, nor will. SwiftNIO ends the process where a loop is shut
    /// down a second time while the first one goes on.
    mutating func endsLoop() -> Bool {
      guard isStopped, connections == 0, answering == 0, !loopEnds else { return false }
      loopEnds = true
      return true
    }
  }

  private struct Start {
    var address: ServerAddress
    var answer: @Sendable (ControlRequest) async -> ControlResponse
    var listens: @Sendable (UInt16) -> Void
    var failed: @Sendable (String) -> Void
  }

  private let limits: HTTPLimits
  private let loop: any EventLoop
  private let state: Monitor<State>
  private let bodies: RequestBodies
  private let threads: AnsweringThreads

  /// Starts the threads. Throws EAGAIN where the machine has none to give.
  init(limits: HTTPLimits) throws(Errno) {
    self.limits = limits
    bodies = RequestBodies(limit: limits.bodyBytes)
    state = Monitor(State())
    threads = try AnsweringThreads(named: "control-answer", count: 2)
    loop = try EventLoopThread.start(named: "control")
    do throws(Errno) {
      // It ends with `stop`.
      let acceptor = try Thread.start(named: "control-accept") { [self] in acceptAll() }
      acceptor.detach()
    } catch {
      loop.shutdownGracefully(queue: .global()) { _ in }
      throw error
    }
  }

  /// Connections at this moment.
  var connections: Int { state.withLock { $0.connections } }

  /// Listens from a moment after this returns until `stop`; `listens` is then called with the port, 0 for a unix
  /// socket. `failed` is called once, with the reason why it cannot; it is tried again nevertheless.
  func start(
    _ address: ServerAddress, listens: @escaping @Sendable (UInt16) -> Void = { _ in },
    failed: @escaping @Sendable (String) -> Void,
    answer: @escaping @Sendable (ControlRequest) async -> ControlResponse
  ) {
    state.signal(all: true) {
      $0.start = Start(address: address, answer: answer, listens: listens, failed: failed)
    }
  }

  /// Closes all connections. Tasks of requests are cancelled, and not waited for.
  func stop() {
    let (channels, isOver) = state.signal(all: true) { state in
      state.isStopped = true
      // Ends an accept that waits.
      if state.listener >= 0 { shutdown(state.listener, CInt(SHUT_RDWR)) }
      return (Array(state.channels.values), state.endsLoop())
    }
    for channel in channels { channel.close(promise: nil) }
    if isOver { endLoop() }
  }

  private func endLoop() { loop.shutdownGracefully(queue: .global()) { _ in } }

  // MARK: The accepting thread

  private func acceptAll() {
    let start = state.wait { state -> Start?? in
      state.isStopped ? .some(nil) : state.start.map { .some($0) }
    }
    guard let start = start ?? nil else { return }
    let service = HTTPService(
      limits: limits, bodies: bodies, threads: threads, answer: start.answer,
      begins: { [self] in state.withLock { $0.answering += 1 } },
      ended: { [self] in leave { $0.answering -= 1 } })
    var isReported = false
    while !isStopped {
      do throws(ServerAddress.Failure) {
        let listener = try start.address.listen()
        start.listens(ServerAddress.port(of: listener))
        accept(on: listener, start.address, service)
        start.address.remove()
      } catch {
        if !isReported { start.failed(error.description) }
        isReported = true
      }
      rest()
    }
  }

  private var isStopped: Bool { state.withLock { $0.isStopped } }

  private func rest() {
    _ = state.wait(until: .now + Self.rest) { $0.isStopped ? true : nil }
  }

  /// Returns when the server is stopped, or the socket has failed.
  private func accept(
    on listener: borrowing OwnedDescriptor, _ address: ServerAddress, _ service: HTTPService
  ) {
    let raw = listener.raw
    let isStopped = state.withLock { state in
      state.listener = raw
      return state.isStopped
    }
    defer { state.withLock { $0.listener = -1 } }
    if isStopped { return }
    while true {
      let hasPlace = state.wait { [limits] state -> Bool? in
        if state.isStopped { return false }
        return state.connections < limits.connections ? true : nil
      }
      guard hasPlace == true else { return }
      let socket = millrace_accept(raw)
      if socket >= 0 {
        let connection = OwnedDescriptor(adopting: socket)
        if address.trusts(connection) { adopt(connection, service) }
        continue
      }
      switch Errno.last {
      case .interrupted, .connectionAbort: continue
      case .tooManyOpenFiles, .tooManyOpenFilesInSystem, .noMemory, .noBufferSpace: rest()
      default: return
      }
    }
  }

  /// Gives a connected socket to the event loop.
  private func adopt(_ socket: consuming OwnedDescriptor, _ service: HTTPService) {
    let isStopped = state.withLock { state in
      if !state.isStopped { state.connections += 1 }
      return state.isStopped
    }
    // The loop may have ended.
    if isStopped { return }
    let decoder = decoderLimits
    ClientBootstrap(group: loop)
      .channelOption(.allowRemoteHalfClosure, value: true)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.configureHTTPServerPipeline(
            withErrorHandling: false, withEncoderConfiguration: .init(),
            withDecoderLimitConfiguration: decoder)
          try channel.pipeline.syncOperations.addHandler(HTTPConnection(service))
        }
      }
      .withConnectedSocket(socket.release())
      .whenComplete { [self] result in
        switch result {
        case .failure: leave { $0.connections -= 1 }
        case .success(let channel): hold(channel)
        }
      }
  }

  private var decoderLimits: NIOHTTPDecoderLimitConfiguration {
    var decoder = NIOHTTPDecoderLimitConfiguration()
    decoder.maxHeaderFieldSize = limits.headBytes
    decoder.maxHeaderListSize = limits.headBytes
    return decoder
  }

  private func hold(_ channel: any Channel) {
    let key = ObjectIdentifier(channel)
    let isStopped = state.withLock { state in
      state.channels[key] = channel
      return state.isStopped
    }
    channel.closeFuture.whenComplete { [self] _ in
      leave { state in
        state.channels[key] = nil
        state.connections -= 1
      }
    }
    if isStopped { channel.close(promise: nil) }
  }

  private func leave(_ change: (inout State) -> Void) {
    let isOver = state.signal(all: true) { state in
      change(&state)
      return state.endsLoop()
    }
    if isOver { endLoop() }
  }
}
