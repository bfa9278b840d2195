import CCurlShim
import Posix

/// A handle of libcurl's that makes one request after another, and what of a request libcurl does not copy.
final class RequestHandle {
  private(set) var easy = EasyHandle()
  private var headers: UnsafeMutablePointer<curl_slist>?
  private var connectTo: UnsafeMutablePointer<curl_slist>?
  private let errorBuffer: UnsafeMutablePointer<CChar>

  init(_ configuration: TransportConfiguration, share: UnsafeMutableRawPointer?) {
    errorBuffer = .allocate(capacity: Int(CURL_ERROR_SIZE))
    errorBuffer.initialize(repeating: 0, count: Int(CURL_ERROR_SIZE))
    easy.setConstants(configuration, share: share)
    easy.set(CURLOPT_ERRORBUFFER, pointer: errorBuffer)
  }

  /// It must have been taken off the multi handle.
  deinit {
    curl_easy_cleanup(easy.raw)
    curl_slist_free_all(headers)
    curl_slist_free_all(connectTo)
    errorBuffer.deallocate()
  }

  /// What libcurl said of the last request; empty: nothing.
  var errorText: String { String(cString: errorBuffer) }

  /// `context`: what the callbacks are given, and `CURLINFO_PRIVATE`.
  func setCallbacks(
    _ context: UnsafeMutableRawPointer, header: @escaping millrace_data_callback,
    body: @escaping millrace_data_callback, openSocket: @escaping curl_opensocket_callback
  ) {
    easy.set(CURLOPT_PRIVATE, pointer: context)
    easy.set(CURLOPT_HEADERDATA, pointer: context)
    easy.set(CURLOPT_HEADERFUNCTION, callback: header)
    easy.set(CURLOPT_WRITEDATA, pointer: context)
    easy.set(CURLOPT_WRITEFUNCTION, callback: body)
    easy.require(openSocket: openSocket, context: context)
  }

  func set(_ request: HTTPRequest, limits: ExchangeLimits) {
    easy.set(CURLOPT_URL, request.url)
    easy.set(CURLOPT_UNIX_SOCKET_PATH, request.unixSocketPath)
    // nil: no_proxy of the environment says.
    easy.set(CURLOPT_NOPROXY, request.bypassesProxy ? "*" : nil)
    easy.set(CURLOPT_CONNECTTIMEOUT_MS, max(1, Int(limits.connectTimeout.milliseconds)))
    setMethod(request)
    setHeaders(request)
  }

  func set(certificate: String?, key: String?) {
    easy.set(CURLOPT_SSLCERT, certificate)
    easy.set(CURLOPT_SSLKEY, key)
  }

  /// To this address of its host, whose name stays in what is signed and checked.
  func setAddress(_ address: String, port: Int) {
    let literal = address.contains(":") ? "[\(address)]" : address
    connectTo = curl_slist_append(nil, "::\(literal):\(port)")
    easy.set(CURLOPT_CONNECT_TO, pointer: connectTo)
  }

  /// On a connection of its own: an idle one may be what is slow.
  func useFreshConnection() { easy.set(CURLOPT_FRESH_CONNECT, true) }

  /// The handle keeps only what every request has.
  func reset() {
    errorBuffer[0] = 0
    easy.set(CURLOPT_FRESH_CONNECT, false)
    easy.set(CURLOPT_CONNECT_TO, pointer: nil)
    curl_slist_free_all(connectTo)
    connectTo = nil
    easy.set(CURLOPT_HTTPHEADER, pointer: nil)
    curl_slist_free_all(headers)
    headers = nil
    // Drops libcurl's copy of the body.
    easy.set(CURLOPT_COPYPOSTFIELDS, pointer: nil)
  }

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
    easy.set(CURLOPT_HTTPHEADER, pointer: headers)
  }

  private func append(_ line: String) {
    if let list = curl_slist_append(headers, line) { headers = list }
  }
}
