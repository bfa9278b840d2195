import NIOHTTP1

/// A request, once its body is complete.
struct ControlRequest: Sendable {
  var method: HTTPMethod
  /// Without the query, percent-encoded as it came.
  var path: String
  var query: QueryText
  var contentType: String?
  var body: RequestBodies.Body

  init(_ head: HTTPRequestHead, body: RequestBodies.Body) {
    let parts = head.uri.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
    method = head.method
    path = parts.first.map(String.init) ?? ""
    query = QueryText(parts.count == 2 ? String(parts[1]) : "")
    contentType = head.headers.first(name: "content-type")
    self.body = body
  }
}

struct ControlResponse: Sendable {
  var status = HTTPResponseStatus.ok
  var contentType = "application/json"
  var body: [UInt8] = []
}
