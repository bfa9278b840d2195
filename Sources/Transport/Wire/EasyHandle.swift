import CCurlShim
import Posix

/// A libcurl easy handle with typed setters. Setting cannot fail for options that the library
/// knows, and one that it does not know is not needed by this version of it; so codes are dropped. Those of options
/// that a connection's safety hangs on are not: see `require`.
struct EasyHandle {
  let raw: UnsafeMutableRawPointer
  /// The first option of these that could not be set: nothing may be sent by this handle.
  private(set) var missing: String?

  init() {
    // Null only when memory has run out.
    raw = curl_easy_init()!
  }

  func set(_ option: CURLoption, _ value: Int) { _ = millrace_easy_set_long(raw, option, value) }

  func set(_ option: CURLoption, _ value: Bool) { set(option, value ? 1 : 0) }

  /// libcurl copies the string; nil takes the option back.
  func set(_ option: CURLoption, _ value: String?) {
    guard let value else { return set(option, pointer: nil) }
    value.withCString { text in set(option, pointer: text) }
  }

  private mutating func require(_ name: String, _ code: CURLcode) {
    if code != CURLE_OK, missing == nil { missing = name }
  }

  mutating func require(_ option: CURLoption, _ value: Int, _ name: String) {
    require(name, millrace_easy_set_long(raw, option, value))
  }

  mutating func require(_ option: CURLoption, _ value: String, _ name: String) {
    require(name, value.withCString { millrace_easy_set_pointer(raw, option, $0) })
  }

  /// What opens the sockets of this handle's connections.
  mutating func require(
    openSocket callback: @escaping curl_opensocket_callback, context: UnsafeMutableRawPointer
  ) {
    require("CURLOPT_OPENSOCKETFUNCTION", millrace_easy_set_opensocket(raw, callback, context))
  }

  func set(_ option: CURLoption, pointer: UnsafeRawPointer?) {
    _ = millrace_easy_set_pointer(raw, option, pointer)
  }

  func set(_ option: CURLoption, offset: Int) {
    _ = millrace_easy_set_offset(raw, option, curl_off_t(offset))
  }

  func set(_ option: CURLoption, callback: @escaping millrace_data_callback) {
    _ = millrace_easy_set_callback(raw, option, callback)
  }

  func long(_ info: CURLINFO) -> Int {
    var value = 0
    _ = millrace_easy_get_long(raw, info, &value)
    return value
  }

  func offset(_ info: CURLINFO) -> Int {
    var value: curl_off_t = 0
    _ = millrace_easy_get_offset(raw, info, &value)
    return Int(value)
  }

  /// The options that are the same for every request of a transport.
  mutating func setConstants(
    _ configuration: TransportConfiguration, share: UnsafeMutableRawPointer?
  ) {
    set(CURLOPT_SHARE, pointer: share)
    set(CURLOPT_NOSIGNAL, true)
    // A name server that does not answer must not hold up the thread when its transfer is given up.
    set(CURLOPT_QUICK_EXIT, true)
    require(CURLOPT_PROTOCOLS_STR, "http,https", "CURLOPT_PROTOCOLS_STR")
    require(CURLOPT_REDIR_PROTOCOLS_STR, "http,https", "CURLOPT_REDIR_PROTOCOLS_STR")
    // Redirects are followed by the exchange, which signs each hop.
    require(CURLOPT_FOLLOWLOCATION, 0, "CURLOPT_FOLLOWLOCATION")
    // S3 speaks no HTTP/2, and one connection for all ranges would be slower than several.
    set(CURLOPT_HTTP_VERSION, Int(CURL_HTTP_VERSION_1_1))
    // Keys with "/../" in them are legal.
    set(CURLOPT_PATH_AS_IS, true)
    set(CURLOPT_TCP_NODELAY, true)
    set(CURLOPT_TCP_KEEPALIVE, true)
    set(CURLOPT_SUPPRESS_CONNECT_HEADERS, true)
    // From 64 KiB on it hardly matters (measured); each running transfer has one.
    set(CURLOPT_BUFFERSIZE, 128 << 10)
    // S3 closes idle connections after about 5 s: do not start on one that is about to go.
    set(CURLOPT_MAXAGE_CONN, 4)
    // None alone may take more than all together; `RateLimiter` sees to the sum.
    if let rate = configuration.maxBytesPerSecond {
      set(CURLOPT_MAX_RECV_SPEED_LARGE, offset: max(1024, rate))
    }
    set(CURLOPT_USERAGENT, configuration.userAgent)
    setTrust(configuration)
  }

  private mutating func setTrust(_ configuration: TransportConfiguration) {
    require(CURLOPT_SSL_VERIFYPEER, 1, "CURLOPT_SSL_VERIFYPEER")
    require(CURLOPT_SSL_VERIFYHOST, 2, "CURLOPT_SSL_VERIFYHOST")
    // Older ones are broken (RFC 8996), whatever this machine's libraries still take.
    require(
      CURLOPT_SSLVERSION, Int(CURL_SSLVERSION_TLSv1_2), "CURLOPT_SSLVERSION")
    guard let bundle = configuration.caBundle else { return }
    require(CURLOPT_CAINFO, bundle, "CURLOPT_CAINFO")
    // Else the system's folder of authorities would still be trusted beside it.
    set(CURLOPT_CAPATH, pointer: nil)
  }
}
