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
  public var body: [UInt8]

  public init(
    method: Method = .get, url: String, headers: [(name: String, value: String)] = [],
    body: [UInt8] = []
  ) {
    self.method = method
    self.url = url
    self.headers = headers
    self.body = body
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
