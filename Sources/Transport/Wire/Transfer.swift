import CCurlShim
import Glibc
import ObjectStore
import Posix

/// One attempt on the wire: a handle of libcurl's and what its callbacks need. Used again for the next attempt, of this
/// exchange or another. Lives on the thread of its loop.
final class Transfer {
  /// The attempt that a transfer makes.
  struct Attempt {
    let task: ExchangeTask
    let exchange: any Exchange
    let listener: any TransferListener
    /// Bytes of body that its request asks for; 0: unknown.
    let expected: Int
  }

  /// The number of the attempt on the wire.
  private(set) var id = TransferID(number: 0)
  private(set) var startedAt = Instant(nanoseconds: 0)
  /// Nil while it waits to be used again.
  private(set) var attempt: Attempt?
  private(set) var response = ResponseState()
  /// libcurl could not connect: there was no server, or none that it could trust.
  private(set) var couldNotConnect = false
  /// What the response said that was not listened to, because the other of two requests still ran.
  private(set) var droppedStatus: Int?
  /// The address it was sent to, where the transport chose it.
  private(set) var route: (host: HostAddressPool.Host, address: String)?

  private var peer = RequestPeer.user
  private var origin = ""
  /// The request as the log shows it; made only where there is one.
  private var label = ""
  private let handle: RequestHandle
  private let configuration: TransportConfiguration

  init(_ configuration: TransportConfiguration, share: UnsafeMutableRawPointer?) {
    self.configuration = configuration
    handle = RequestHandle(configuration, share: share)
    handle.setCallbacks(
      Unmanaged.passUnretained(self).toOpaque(), header: transferHeader, body: transferBody,
      openSocket: transferOpenSocket)
  }

  static func of(_ easy: UnsafeMutableRawPointer) -> Transfer? {
    var context: UnsafeMutableRawPointer?
    _ = millrace_easy_get_private(easy, &context)
    return context.map { Unmanaged<Transfer>.fromOpaque($0).takeUnretainedValue() }
  }

  var raw: UnsafeMutableRawPointer { handle.easy.raw }

  // MARK: A request

  /// Makes the handle ready to send `request`.
  func prepare(
    _ request: HTTPRequest, _ attempt: Attempt, id: TransferID, limits: ExchangeLimits
  ) throws(TransferFailure) {
    try request.checkCharacters()
    if let option = handle.easy.missing {
      throw TransferFailure(
        .tls, detail: "this libcurl (\(String(cString: curl_version()))) cannot set \(option)")
    }
    let certificate = request.showsCertificate ? configuration.clientCertificate : nil
    handle.set(
      certificate: certificate, key: certificate.map { configuration.clientKey ?? $0 })
    self.id = id
    self.attempt = attempt
    peer = request.peer
    origin = request.origin
    startedAt = .now
    if configuration.requestLog != nil { label = RequestLine.label(request) }
    handle.set(request, limits: limits)
  }

  /// Sends it to this address of its host, whose name stays in what is signed and checked.
  func connect(to address: String, of host: HostAddressPool.Host) {
    route = (host, address)
    handle.setAddress(address, port: host.port)
  }

  /// On a connection of its own: an idle one may be what is slow.
  func useFreshConnection() { handle.useFreshConnection() }

  /// Forgets the attempt; the handle keeps only what every request has.
  func recycle() {
    if let requestLog = configuration.requestLog { requestLog(logLine) }
    attempt = nil
    peer = .user
    response = ResponseState()
    couldNotConnect = false
    droppedStatus = nil
    route = nil
    handle.reset()
  }

  private var logLine: String {
    RequestLine.ended(
      label, status: response.status, received: response.received,
      after: Instant.now - startedAt, firstByte: response.answeredAt.map { $0 - startedAt },
      error: handle.errorText)
  }

  // MARK: How it goes

  /// Bytes of body that its request asks for; 0: unknown.
  var expected: Int { attempt?.expected ?? 0 }

  var connectionsOpened: Int { handle.easy.long(CURLINFO_NUM_CONNECTS) }

  var report: TransferReport {
    TransferReport(
      startedAt: startedAt, answeredAt: response.answeredAt, status: response.status,
      received: response.received, expected: expected)
  }

  var sample: ProgressWatch.Sample {
    ProgressWatch.Sample(
      received: response.received, sent: handle.easy.offset(CURLINFO_SIZE_UPLOAD_T),
      requestStarted: requestStarted)
  }

  /// When the request went out; nil while the connection is being made.
  private var requestStarted: Instant? {
    let connecting = handle.easy.offset(CURLINFO_PRETRANSFER_TIME_T)
    return connecting > 0 ? startedAt + .microseconds(connecting) : nil
  }

  // MARK: How it ended

  /// libcurl has ended it. What we end ourselves while it connects says nothing of its address.
  func ended(with code: CURLcode) {
    let isFailure =
      code == CURLE_COULDNT_CONNECT || code == CURLE_OPERATION_TIMEDOUT
      || code == CURLE_SSL_CONNECT_ERROR || code == CURLE_PEER_FAILED_VERIFICATION
    couldNotConnect = isFailure && requestStarted == nil
  }

  /// What is reported to the exchange about an attempt that libcurl has ended.
  func outcome(_ code: CURLcode) -> AttemptOutcome {
    if code == CURLE_OK, let head = response.head { return .response(head, body: response.body) }
    if case .rejected = response.abort, let head = response.head { return .rejected(head) }
    let failure =
      response.abort?.failure(budget: configuration.bodyBudget.limit)
      ?? TransferFailure(curl: code, text: handle.errorText, wasSent: requestStarted != nil)
    return outcome(failure.kind, failure.detail)
  }

  /// The outcome of an attempt that the transport ends.
  func outcome(_ kind: TransferFailure.Kind, _ detail: String) -> AttemptOutcome {
    .transferFailed(
      TransferFailure(kind, detail: "\(detail) (\(origin))"),
      wasStreaming: response.streamed > 0)
  }

  /// The outcome of an attempt that ran when the exchange's deadline came.
  var outcomeAtDeadline: AttemptOutcome {
    if requestStarted == nil {
      return outcome(.connectTimedOut, "not connected before the deadline")
    }
    if response.received == 0 {
      return outcome(.firstByteTimedOut, "no response before the deadline")
    }
    return outcome(.stalled, "response not complete before the deadline")
  }

  // MARK: Calls from libcurl

  /// -1: no connection to this address.
  fileprivate func openSocket(_ wanted: UnsafeMutablePointer<curl_sockaddr>) -> CInt {
    let length = Int(wanted.pointee.addrlen)
    let address = withUnsafePointer(to: &wanted.pointee.addr) {
      PeerAddress($0, length: length)
    }
    switch (peer, address) {
    case (.user, _): break
    case (.own(let policy), let address?): policy.recordOwn(address.nearness)
    case (.own, nil): break
    case (.named(let policy), let address?):
      guard policy.allows(address.nearness) else {
        response.abort = .forbiddenAddress(address)
        return CURL_SOCKET_BAD
      }
    case (.named, nil): return CURL_SOCKET_BAD
    }
    return socket(
      wanted.pointee.family, wanted.pointee.socktype | CInt(SOCK_CLOEXEC.rawValue),
      wanted.pointee.protocol)
  }

  fileprivate func receive(header line: UnsafeRawBufferPointer) -> Bool {
    response.received += line.count
    switch response.parser.append(line) {
    case .incomplete: return true
    case .tooLarge: response.abort = .headTooLarge
    case .malformed: response.abort = .malformedHead
    case .complete(let head): return receive(head)
    }
    return false
  }

  private func receive(_ head: HTTPResponseHead) -> Bool {
    response.head = head
    response.answeredAt = .now
    guard let attempt, attempt.listener.headArrived(self, status: head.status) else {
      droppedStatus = head.status
      response.abort = .lost
      return false
    }
    response.disposition = attempt.exchange.receive(head: head)
    guard case .reject = response.disposition else { return true }
    response.abort = .rejected
    return false
  }

  /// The hot path: at most 16 KiB a call, handed on where they lie.
  fileprivate func receive(body bytes: UnsafeRawBufferPointer) -> Bool {
    response.received += bytes.count
    switch response.disposition {
    case .stream:
      guard let exchange = attempt?.exchange, exchange.receive(body: bytes) else {
        response.abort = .rejected
        return false
      }
      response.streamed += bytes.count
      return true
    case .collect(let limit, true):
      let budget = configuration.bodyBudget
      return response.collect(bytes, limit: min(limit, budget.limit), within: budget)
    case .collect(let limit, false):
      return response.collect(bytes, limit: limit, within: nil)
    case .reject:
      return false
    }
  }
}

/// Who is told of the head of a response, within a callback of libcurl's: no transfer can be ended in it.
protocol TransferListener: AnyObject {
  /// False: the response is not to be listened to.
  func headArrived(_ transfer: Transfer, status: Int) -> Bool
}

private func transferHeader(
  bytes: UnsafeMutablePointer<CChar>?, size: Int, count: Int, context: UnsafeMutableRawPointer?
) -> Int {
  let transfer = Unmanaged<Transfer>.fromOpaque(context!).takeUnretainedValue()
  let line = UnsafeRawBufferPointer(start: bytes, count: size * count)
  return transfer.receive(header: line) ? line.count : 0
}

private func transferOpenSocket(
  context: UnsafeMutableRawPointer?, purpose: curlsocktype,
  wanted: UnsafeMutablePointer<curl_sockaddr>?
) -> curl_socket_t {
  Unmanaged<Transfer>.fromOpaque(context!).takeUnretainedValue().openSocket(wanted!)
}

private func transferBody(
  bytes: UnsafeMutablePointer<CChar>?, size: Int, count: Int, context: UnsafeMutableRawPointer?
) -> Int {
  let transfer = Unmanaged<Transfer>.fromOpaque(context!).takeUnretainedValue()
  let body = UnsafeRawBufferPointer(start: bytes, count: size * count)
  return transfer.receive(body: body) ? body.count : 0
}
