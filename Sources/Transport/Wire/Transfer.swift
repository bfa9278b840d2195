import CCurlShim
import Glibc
import ObjectStore
import Posix

/// One attempt on the wire: an easy handle and what its callbacks need. Reused for the next
/// attempt, of this exchange or another. Lives on the transport's thread.
final class Transfer {
  /// Why we ended the transfer ourselves, inside a callback.
  private enum Abort {
    case rejected
    case lost
    case bodyTooLarge(limit: Int)
    case bodiesTooLarge
    case headTooLarge
    case malformedHead
    case forbiddenAddress(PeerAddress)
  }

  private(set) var easy = EasyHandle()
  private let certificate: (file: String, key: String)?
  private var peer = RequestPeer.user
  private(set) var task: ExchangeTask?
  private(set) var startedAt = Instant(nanoseconds: 0)
  /// When the head of the answer was there.
  private(set) var answeredAt: Instant?
  /// libcurl could not connect: there was no server, or none that it could trust.
  private(set) var couldNotConnect = false
  /// What the answer said that was not listened to, because the other of two requests still ran.
  private(set) var droppedStatus: Int?
  /// The address it was sent to, where the transport chose it.
  private(set) var address: String?
  private(set) var host: HostAddressPool.Host?
  /// Bytes that the limits were charged for it.
  var charged = 0
  var status: Int? { head?.status }
  /// Bytes of head and body so far.
  private(set) var received = 0
  /// Bytes that `receive(body:)` took.
  private(set) var streamed = 0

  private var exchange: (any Exchange)?
  private var parser = HeadParser()
  private var head: HTTPResponseHead?
  private var disposition = BodyDisposition.reject
  private var collected: [UInt8] = []
  private var lease: BodyBudget.Lease?
  private let budget: BodyBudget
  private var abort: Abort?
  private var headerList: UnsafeMutablePointer<curl_slist>?
  private var connectTo: UnsafeMutablePointer<curl_slist>?
  private var origin = ""
  private let errorText: UnsafeMutablePointer<CChar>
  private let requestLog: (@Sendable (String) -> Void)?
  /// The request as the log shows it; made only where there is one.
  private var label = ""

  init(_ configuration: TransportConfiguration, share: UnsafeMutableRawPointer?) {
    budget = configuration.bodyBudget
    requestLog = configuration.requestLog
    errorText = .allocate(capacity: Int(CURL_ERROR_SIZE))
    errorText.initialize(repeating: 0, count: Int(CURL_ERROR_SIZE))
    certificate = configuration.clientCertificate.map {
      ($0, configuration.clientKey ?? $0)
    }
    easy.setConstants(configuration, share: share)
    let context = Unmanaged.passUnretained(self).toOpaque()
    easy.set(CURLOPT_PRIVATE, pointer: context)
    easy.set(CURLOPT_ERRORBUFFER, pointer: errorText)
    easy.set(CURLOPT_HEADERDATA, pointer: context)
    easy.set(CURLOPT_HEADERFUNCTION, callback: transferHeader)
    easy.set(CURLOPT_WRITEDATA, pointer: context)
    easy.set(CURLOPT_WRITEFUNCTION, callback: transferBody)
    easy.require(openSocket: transferOpenSocket, context: context)
  }

  /// It must have been taken off the multi handle.
  deinit {
    curl_easy_cleanup(easy.raw)
    curl_slist_free_all(headerList)
    curl_slist_free_all(connectTo)
    errorText.deallocate()
  }

  static func of(_ easy: UnsafeMutableRawPointer) -> Transfer? {
    var context: UnsafeMutableRawPointer?
    _ = millrace_easy_get_private(easy, &context)
    return context.map { Unmanaged<Transfer>.fromOpaque($0).takeUnretainedValue() }
  }

  /// Makes the handle ready to send `request`.
  func prepare(
    _ request: HTTPRequest, for task: ExchangeTask, exchange: any Exchange
  ) throws(TransferFailure) {
    try request.checkCharacters()
    if let option = easy.missing {
      throw TransferFailure(
        .tls, detail: "this libcurl (\(String(cString: curl_version()))) cannot set \(option)")
    }
    peer = request.peer
    let certificate = request.showsCertificate ? certificate : nil
    easy.set(CURLOPT_SSLCERT, certificate?.file)
    easy.set(CURLOPT_SSLKEY, certificate?.key)
    self.task = task
    self.exchange = exchange
    origin = request.origin
    startedAt = .now
    if requestLog != nil { label = RequestLine.label(request) }
    easy.set(CURLOPT_URL, request.url)
    easy.set(CURLOPT_UNIX_SOCKET_PATH, request.unixSocketPath)
    // nil: no_proxy of the environment says.
    easy.set(CURLOPT_NOPROXY, request.bypassesProxy ? "*" : nil)
    setMethod(request)
    setHeaders(request)
  }

  /// Sends it to this address of its host, whose name stays in what is signed and checked.
  func connect(to address: String, of host: HostAddressPool.Host) {
    self.address = address
    self.host = host
    let literal = address.contains(":") ? "[\(address)]" : address
    connectTo = curl_slist_append(nil, "::\(literal):\(host.port)")
    easy.set(CURLOPT_CONNECT_TO, pointer: connectTo)
  }

  /// On a connection of its own: an idle one may be what is slow.
  func useFreshConnection() { easy.set(CURLOPT_FRESH_CONNECT, true) }

  /// Forgets the attempt; the handle keeps only what every request has.
  func recycle() {
    if let requestLog {
      requestLog(
        RequestLine.ended(
          label, status: status, received: received, after: Instant.now - startedAt,
          firstByte: answeredAt.map { $0 - startedAt }, error: String(cString: errorText)))
    }
    task = nil
    exchange = nil
    parser = HeadParser()
    head = nil
    disposition = .reject
    collected = []
    lease = nil
    abort = nil
    peer = .user
    received = 0
    streamed = 0
    answeredAt = nil
    couldNotConnect = false
    droppedStatus = nil
    charged = 0
    address = nil
    host = nil
    errorText[0] = 0
    easy.set(CURLOPT_FRESH_CONNECT, false)
    easy.set(CURLOPT_CONNECT_TO, pointer: nil)
    curl_slist_free_all(connectTo)
    connectTo = nil
    easy.set(CURLOPT_HTTPHEADER, pointer: nil)
    curl_slist_free_all(headerList)
    headerList = nil
    // Drops libcurl's copy of the body.
    easy.set(CURLOPT_COPYPOSTFIELDS, pointer: nil)
  }

  /// libcurl has ended it. What we end ourselves while it connects says nothing of its address.
  func noteEnd(_ code: CURLcode) {
    let isFailure =
      code == CURLE_COULDNT_CONNECT || code == CURLE_OPERATION_TIMEDOUT
      || code == CURLE_SSL_CONNECT_ERROR || code == CURLE_PEER_FAILED_VERIFICATION
    couldNotConnect = isFailure && requestStarted == nil
  }

  /// What is reported to the exchange about an attempt that libcurl has ended.
  func outcome(_ code: CURLcode) -> AttemptOutcome {
    if code == CURLE_OK, let head {
      return .response(head, body: CollectedBody(collected, lease))
    }
    if case .rejected = abort, let head { return .rejected(head) }
    return .transferFailed(failure(code), wasStreaming: streamed > 0)
  }

  /// The outcome of an attempt that the transport ends.
  func outcome(_ kind: TransferFailure.Kind, _ detail: String) -> AttemptOutcome {
    .transferFailed(
      TransferFailure(kind, detail: "\(detail) (\(origin))"), wasStreaming: streamed > 0)
  }

  /// The outcome of an attempt that ran when the exchange's deadline came.
  var outcomeAtDeadline: AttemptOutcome {
    if requestStarted == nil {
      return outcome(.connectTimedOut, "not connected before the deadline")
    }
    if received == 0 { return outcome(.firstByteTimedOut, "no response before the deadline") }
    return outcome(.stalled, "response not complete before the deadline")
  }

  /// When the request went out; nil while the connection is being made.
  var requestStarted: Instant? {
    let connecting = easy.offset(CURLINFO_PRETRANSFER_TIME_T)
    return connecting > 0 ? startedAt + .microseconds(connecting) : nil
  }

  var sample: ProgressWatch.Sample {
    ProgressWatch.Sample(
      received: received, sent: easy.offset(CURLINFO_SIZE_UPLOAD_T), requestStarted: requestStarted)
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
        abort = .forbiddenAddress(address)
        return CURL_SOCKET_BAD
      }
    case (.named, nil): return CURL_SOCKET_BAD
    }
    return socket(
      wanted.pointee.family, wanted.pointee.socktype | CInt(SOCK_CLOEXEC.rawValue),
      wanted.pointee.protocol)
  }

  fileprivate func take(header line: UnsafeRawBufferPointer) -> Bool {
    received += line.count
    switch parser.append(line) {
    case .incomplete: return true
    case .tooLarge: abort = .headTooLarge
    case .malformed: abort = .malformedHead
    case .complete(let head):
      self.head = head
      answeredAt = .now
      guard let exchange, let task, task.claim(self, status: head.status) else {
        droppedStatus = head.status
        abort = .lost
        return false
      }
      disposition = exchange.receive(head: head)
      guard case .reject = disposition else { return true }
      abort = .rejected
    }
    return false
  }

  /// The hot path: at most 16 KiB a call, handed on where they lie.
  fileprivate func take(body bytes: UnsafeRawBufferPointer) -> Bool {
    received += bytes.count
    switch disposition {
    case .stream:
      guard let exchange, exchange.receive(body: bytes) else {
        abort = .rejected
        return false
      }
      streamed += bytes.count
      return true
    case .collect(let limit, true):
      return collect(bytes, limit: min(limit, budget.limit), within: budget)
    case .collect(let limit, false):
      return collect(bytes, limit: limit, within: nil)
    case .reject:
      return false
    }
  }

  private func collect(
    _ bytes: UnsafeRawBufferPointer, limit: Int, within budget: BodyBudget?
  ) -> Bool {
    guard collected.count + bytes.count <= limit else {
      abort = .bodyTooLarge(limit: limit)
      return false
    }
    if let budget {
      let lease = lease ?? BodyBudget.Lease(budget)
      self.lease = lease
      guard lease.grow(by: bytes.count) else {
        abort = .bodiesTooLarge
        return false
      }
    }
    collected.append(contentsOf: bytes)
    return true
  }

  private func failure(_ code: CURLcode) -> TransferFailure {
    let failure: TransferFailure
    switch abort {
    case .bodyTooLarge(let limit):
      failure = TransferFailure(.bodyTooLarge, detail: "a response of more than \(limit) bytes")
    case .bodiesTooLarge:
      failure = TransferFailure(
        .bodiesTooLarge,
        detail: "the responses being received use all of their \(budget.limit >> 20) MiB")
    case .headTooLarge:
      failure = TransferFailure(
        .malformed, detail: "more than \(HeadParser.maxBytes) bytes of headers")
    case .malformedHead:
      failure = TransferFailure(.malformed, detail: "a response that is not HTTP")
    case .forbiddenAddress(let address):
      failure = TransferFailure(
        .malformed,
        detail:
          "the server redirects to \(address), an address in a network that the server is not in; "
          + "--allow-private permits private networks and this machine")
    case .rejected, .lost, nil:
      failure = TransferFailure(
        curl: code, text: String(cString: errorText), wasSent: requestStarted != nil)
    }
    return TransferFailure(failure.kind, detail: "\(failure.detail) (\(origin))")
  }

  // MARK: Making a request

  private func setMethod(_ request: HTTPRequest) {
    // Also takes a HEAD or POST of the attempt before back.
    easy.set(CURLOPT_HTTPGET, true)
    easy.set(CURLOPT_CUSTOMREQUEST, nil)
    switch request.method {
    case .get: break
    case .head: easy.set(CURLOPT_NOBODY, true)
    case .put, .post:
      easy.set(CURLOPT_POST, true)
      easy.set(CURLOPT_CUSTOMREQUEST, request.method.rawValue)
      // libcurl copies the body, and so can send it again on another connection by itself.
      easy.set(CURLOPT_POSTFIELDSIZE_LARGE, offset: request.body.count)
      request.body.withUnsafeBytes { body in
        withUnsafeBytes(of: 0 as UInt8) { nothing in
          easy.set(CURLOPT_COPYPOSTFIELDS, pointer: body.baseAddress ?? nothing.baseAddress)
        }
      }
    }
  }

  private func setHeaders(_ request: HTTPRequest) {
    for (name, value) in request.headers {
      append(value.isEmpty ? "\(name);" : "\(name): \(value)")
    }
    if request.method == .put || request.method == .post {
      // Without these libcurl waits a second for "100 Continue", and calls the body a form.
      append("Expect:")
      if !request.hasHeader("content-type") { append("Content-Type:") }
    }
    easy.set(CURLOPT_HTTPHEADER, pointer: headerList)
  }

  private func append(_ line: String) {
    if let list = curl_slist_append(headerList, line) { headerList = list }
  }
}

private func transferHeader(
  bytes: UnsafeMutablePointer<CChar>?, size: Int, count: Int, context: UnsafeMutableRawPointer?
) -> Int {
  let transfer = Unmanaged<Transfer>.fromOpaque(context!).takeUnretainedValue()
  let line = UnsafeRawBufferPointer(start: bytes, count: size * count)
  return transfer.take(header: line) ? line.count : 0
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
  return transfer.take(body: body) ? body.count : 0
}
