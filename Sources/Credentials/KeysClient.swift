import ObjectStore
import Posix
import Transport

/// Small requests to the services that give keys, one after another, by a thread that waits.
struct KeysClient {
  struct Request {
    var http: HTTPRequest
    /// One try, and how many.
    var timeout: Duration = .seconds(10)
    var tries = 3
  }

  struct Reply {
    var status: Int
    var body: [UInt8]

    /// For messages: what a service says in plain text, bounded and in one line.
    var words: String {
      let text = String(decoding: body.prefix(300), as: UTF8.self)
      let line = String(
        text.map { $0.isNewline || $0.asciiValue.map { $0 < 32 } == true ? " " : $0 })
      return "HTTP \(status)" + (line.isEmpty ? "" : ": \(line)")
    }
  }

  private static let bodyLimit = 64 << 10

  /// Of the source that asks, for messages.
  let name: String
  var caBundle: String?
  let transport: CredentialsTransport

  /// Whatever was answered, but for 5xx, which is tried again like a connection that failed. Throws
  /// `.unreachable`, `.timedOut` or `.serverFailure`.
  func send(_ request: Request, deadline: Instant) throws(StoreError) -> Reply {
    let exchange = KeysExchange(request.http, name: name, limit: Self.bodyLimit)
    let wait = request.timeout * (request.tries * 2)
    let limits = ExchangeLimits(
      maxAttempts: request.tries, connectTimeout: min(request.timeout, .seconds(5)),
      firstByteTimeout: request.timeout, stallTimeout: request.timeout)
    transport.start(
      exchange, deadline: min(deadline, .now + wait), limits: limits, caBundle: caBundle)
    return try exchange.wait()
  }
}

/// One request and its whole, small answer.
private final class KeysExchange: Exchange {
  private struct State {
    var reply: KeysClient.Reply?
    var result: Result<KeysClient.Reply, StoreError>?
  }

  private let request: HTTPRequest
  private let name: String
  private let limit: Int
  private let state = Monitor(State())

  init(_ request: HTTPRequest, name: String, limit: Int) {
    self.request = request
    self.name = name
    self.limit = limit
  }

  func wait() throws(StoreError) -> KeysClient.Reply {
    // The transport ends every exchange by its deadline.
    try state.wait { $0.result }!.get()
  }

  func nextRequest(attempt: Int) -> NextRequest { .ready(request) }
  func receive(head: HTTPResponseHead) -> BodyDisposition { .collect(limit: limit) }
  func receive(body: UnsafeRawBufferPointer) -> Bool { false }

  func attemptEnded(_ outcome: AttemptOutcome) -> Verdict {
    switch outcome {
    case .response(let head, let body):
      let reply = KeysClient.Reply(status: head.status, body: body.bytes)
      if head.status >= 500 || head.status == 429 {
        return .retry(
          cause: StoreError(
            .serverFailure, store: name, detail: "the service responded \(reply.words)"),
          isThrottle: head.status == 429 || head.status == 503)
      }
      state.withLock { $0.reply = reply }
      return .succeeded
    case .rejected(let head):
      return .failed(
        StoreError(.serverFailure, store: name, detail: "the service responded HTTP \(head.status)")
      )
    case .transferFailed(let failure, _):
      let kind: StoreError.Kind =
        switch failure.kind {
        case .firstByteTimedOut, .stalled, .connectTimedOut: .timedOut
        case .tls: .tls
        default: .unreachable
        }
      return .retry(cause: StoreError(kind, store: name, detail: failure.detail))
    }
  }

  func finish(_ result: Result<Void, StoreError>) {
    state.signal(all: true) { state in
      let none = StoreError(.serverFailure, store: name, detail: "no response")
      state.result = result.flatMap { state.reply.map { .success($0) } ?? .failure(none) }
    }
  }
}
