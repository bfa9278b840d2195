import Formats
import Metrics
import ObjectStore
import Transport

/// Fetches one document whole: a folder's index, or a manifest.
///
/// State is the transport thread's alone (`Exchange`: calls come one after another).
final class HTTPDocumentExchange: Exchange, @unchecked Sendable {
  struct Document: Sendable {
    /// Where it came from, after redirects.
    var url: HTTPURL
    var contentType: String
    var body: CollectedBody
    /// The Link header.
    var link: String?
  }

  private let site: HTTPSite
  private let key: ObjectKey?
  private let failsFast: Bool
  private let bytesMax: Int
  private let completion: @Sendable (Result<Document, StoreError>) -> Void

  /// A manifest has no key.
  private var isListing: Bool { key != nil }

  private var redirects: HTTPRedirects
  private var document: Document?
  /// The Authorization that was sent last.
  private var shown: String?
  private var head: HTTPResponseHead?
  private var drained = 0

  /// `key`: what errors name.
  init(
    site: HTTPSite, url: HTTPURL, key: ObjectKey?, bytesMax: Int, failsFast: Bool,
    completion: @escaping @Sendable (Result<Document, StoreError>) -> Void
  ) {
    self.site = site
    self.key = key
    self.bytesMax = bytesMax
    self.failsFast = failsFast
    self.completion = completion
    redirects = HTTPRedirects(start: url)
  }

  func nextRequest(attempt: Int) -> NextRequest {
    NextRequest { () throws(StoreError) in try makeRequest() }
  }

  private func makeRequest() throws(StoreError) -> HTTPRequest {
    site.metrics.listRequests.add()
    head = nil
    drained = 0
    // Caddy gives JSON to those who ask; the others give what they are set to.
    let request = site.request(
      redirects.current,
      headers: [(name: "Accept", value: "application/json, text/html;q=0.9, */*;q=0.5")])
    shown = request.headers.first { $0.name == "Authorization" }?.value
    return request
  }

  func receive(head: HTTPResponseHead) -> BodyDisposition {
    self.head = head
    return head.status == 200 ? .collect(limit: bytesMax, isBudgeted: isListing) : .stream
  }

  func receive(body: UnsafeRawBufferPointer) -> Bool {
    drained += body.count
    return drained <= HTTPSite.drainedBytesMax
  }

  func attemptEnded(_ outcome: AttemptOutcome) -> Verdict {
    let verdict = decide(outcome)
    if case .retry = verdict { redirects.restart() }
    return verdict
  }

  private func decide(_ outcome: AttemptOutcome) -> Verdict {
    if case .transferFailed(let failure, _) = outcome, head == nil || head?.status == 200 {
      guard failure.kind == .bodyTooLarge else {
        return site.verdict(on: failure, key, failsFast: failsFast)
      }
      return .failed(
        site.failure(.unsupported, key, failure.detail, advice: HTTPStore.manifestAdvice))
    }
    guard let head else { return .failed(site.failure(.badReply, key, "an empty response")) }
    switch redirects.follow(head) {
    case .follow, .isFolder: return .again
    case .refused(let reason): return .failed(site.failure(.unsupported, key, reason))
    case .notRedirected: break
    }
    // nginx with its index off answers so for every folder.
    if head.status == 403, isListing {
      let advice = "if the server has no index here, \(HTTPStore.indexAdvice)"
      return .failed(site.failure(.accessDenied, key, "the server responded 403", advice: advice))
    }
    guard case .response(_, let body) = outcome, head.status == 200 else {
      return site.verdict(on: head, key, shown: shown)
    }
    if let coding = head["content-encoding"], coding.lowercased() != "identity" {
      return .failed(
        site.failure(
          .badReply, key,
          "the server compressed the response (\(coding)) although it was not accepted"))
    }
    document = Document(
      url: redirects.current, contentType: head["content-type"] ?? "", body: body,
      link: head["link"])
    return .succeeded
  }

  func finish(_ result: Result<Void, StoreError>) {
    switch result {
    case .failure(let error): completion(.failure(error))
    case .success:
      guard let document else {
        completion(.failure(site.failure(.badReply, key, "an empty response")))
        return
      }
      self.document = nil
      completion(.success(document))
    }
  }
}
