import NIOCore
import NIOHTTP1
import Posix

/// Reads the requests of one client and sends the responses, on the event loop's thread. What is decided is
/// `ConnectionState`'s.
final class HTTPConnection: ChannelInboundHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias OutboundOut = HTTPServerResponsePart

  private static let pieceBytes = 256 << 10

  private let service: HTTPService
  private var state: ConnectionState
  private var head: HTTPRequestHead?
  private var body: RequestBodies.Body?
  private var task: Task<Void, Never>?
  private var check: RepeatedTask?

  init(_ service: HTTPService) {
    self.service = service
    state = ConnectionState(
      patience: service.limits.patience, forBodies: service.limits.patienceForBodies, now: .now)
  }

  func handlerAdded(context: ChannelHandlerContext) {
    let bound = NIOLoopBound((connection: self, context: context), eventLoop: context.eventLoop)
    let pause = TimeAmount.nanoseconds(service.limits.patience.nanoseconds / 4)
    check = context.eventLoop.scheduleRepeatedTask(initialDelay: pause, delay: pause) { _ in
      let (connection, context) = bound.value
      if connection.state.isOverdue(now: .now) { context.close(promise: nil) }
    }
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head(let head):
      let keepsAlive = head.isKeepAlive && service.limits.keepsAlive
      guard state.headArrived(keepsAlive: keepsAlive, now: .now) else { return }
      self.head = head
      body = service.bodies.begin()
      if head.headers.first(name: "expect")?.lowercased() == "100-continue" {
        let go = HTTPResponseHead(version: .http1_1, status: .continue)
        context.writeAndFlush(wrapOutboundOut(.head(go)), promise: nil)
      }
    case .body(let part):
      body?.append(part.readableBytesView)
      state.progressed(now: .now)
    case .end:
      if state.requestEnded() { answer(context) }
    }
  }

  private func answer(_ context: ChannelHandlerContext) {
    guard let head, let body else { return }
    let request = ControlRequest(head, body: body)
    self.body = nil
    let loop = context.eventLoop
    let bound = NIOLoopBound((connection: self, context: context), eventLoop: loop)
    let service = service
    service.begins()
    task = Task(executorPreference: service.threads) {
      let response = await service.answer(request)
      loop.execute {
        let (connection, context) = bound.value
        connection.send(response, context)
      }
      service.ended()
    }
  }

  private func send(_ response: ControlResponse, _ context: ChannelHandlerContext) {
    task = nil
    guard state.answered(now: .now) else { return }
    var answer = HTTPResponseHead(version: .http1_1, status: response.status)
    answer.headers.add(name: "Content-Type", value: response.contentType)
    answer.headers.add(name: "Content-Length", value: "\(response.body.count)")
    if state.closesAfter { answer.headers.add(name: "Connection", value: "close") }
    context.write(wrapOutboundOut(.head(answer)), promise: nil)
    let bound = NIOLoopBound((connection: self, context: context), eventLoop: context.eventLoop)
    if head?.method != .HEAD {
      // In pieces: each that the client takes is a sign of life.
      var rest = response.body[...]
      while !rest.isEmpty {
        let bytes = context.channel.allocator.buffer(bytes: rest.prefix(Self.pieceBytes))
        rest = rest.dropFirst(Self.pieceBytes)
        context.write(wrapOutboundOut(.body(.byteBuffer(bytes)))).whenSuccess {
          bound.value.connection.state.progressed(now: .now)
        }
      }
    }
    head = nil
    context.writeAndFlush(wrapOutboundOut(.end(nil))).whenComplete { result in
      let (connection, context) = bound.value
      if case .success = result, !connection.state.sent(now: .now) { return }
      context.close(promise: nil)
    }
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if case ChannelEvent.inputClosed = event, state.inputEnded() { context.close(promise: nil) }
    context.fireUserInboundEventTriggered(event)
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    guard let error = error as? HTTPParserError else { return context.close(promise: nil) }
    guard state.isMalformed() else { return }
    let isLarge = error == .headerOverflow
    let response = Routes.refuse(
      isLarge ? .requestHeaderFieldsTooLarge : .badRequest,
      isLarge
        ? "the head of a request has at most \(service.limits.headBytes >> 10) KiB"
        : "this is not an HTTP request: \(error)")
    send(response, context)
  }

  func channelInactive(context: ChannelHandlerContext) {
    state.closed()
    check?.cancel()
    // Its client does not wait for it any more.
    task?.cancel()
    body = nil
    context.fireChannelInactive()
  }
}
