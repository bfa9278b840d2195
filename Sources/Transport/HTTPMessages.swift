import Formats

/// One HTTP request as it goes out. Built anew for every attempt, so that it is signed when it
/// leaves and not when it was queued.
public struct HTTPRequest: Sendable {
  public enum Method: String, Sendable {
    case get = "GET"
    case head = "HEAD"
    case put = "PUT"
    case post = "POST"
  }

  public var method: Method
  /// Absolute, percent-encoded, sent as it stands (no path normalisation).
  public var url: String
  public var headers: [(name: String, value: String)]
  /// Sent with PUT and POST only.
  public var body: [UInt8]
  /// A unix socket to connect to instead of the address in `url`.
  public var unixSocketPath: String?
  /// Goes there itself, whatever proxy the environment names: services of this machine's own.
  public var bypassesProxy: Bool
  /// Whose address it is, and so which ones may be connected to.
  public var peer = RequestPeer.user
  /// The transport's client certificate is for the site that is mounted, and no other that it names.
  public var showsCertificate = false

  public init(
    method: Method = .get, url: String, headers: [(name: String, value: String)] = [],
    body: [UInt8] = [], unixSocketPath: String? = nil, bypassesProxy: Bool = false
  ) {
    self.method = method
    self.url = url
    self.headers = headers
    self.body = body
    self.unixSocketPath = unixSocketPath
    self.bypassesProxy = bypassesProxy
  }
}

extension HTTPRequest {
  /// "https://host:port", for messages: the rest of a URL may hold a signature.
  var origin: String {
    let origin = HTTPURL.split(url)?.origin ?? "?"
    // Nor are a user and password in it anybody's business.
    return String(origin.firstIndex(of: "@").map { origin[origin.index(after: $0)...] } ?? origin)
  }

  /// `name` in lower case.
  func hasHeader(_ name: String) -> Bool {
    headers.contains { $0.name.lowercased() == name }
  }

  /// libcurl sends what it is given: a line end in a value would begin another header.
  func checkCharacters() throws(TransferFailure) {
    guard url.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7f }) else {
      throw TransferFailure(.other, detail: "the URL contains a space or control character")
    }
    for (name, value) in headers {
      guard !name.isEmpty, name.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f && $0 != 0x3a }) else {
        throw TransferFailure(.other, detail: "\"\(name)\" is not a valid header name")
      }
      guard value.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7f || $0 == 0x09 }) else {
        throw TransferFailure(.other, detail: "header \(name) contains a control character")
      }
    }
  }
}

/// Status line and headers of a final response (no 1xx).
public struct HTTPResponseHead: Sendable {
  public var status: Int
  /// Names in lower case, in order of arrival, values trimmed.
  public var headers: [(name: String, value: String)]

  public init(status: Int, headers: [(name: String, value: String)]) {
    self.status = status
    self.headers = headers
  }

  /// The first value of a header; `name` in lower case.
  public subscript(name: String) -> String? { headers.first { $0.name == name }?.value }
}
