import Formats
import Metrics
import ObjectStore
import Transport

/// Asks for the attributes of one file.
///
/// Not by HEAD, which servers and signed redirects answer wrongly or not at all, but by a GET of the
/// first byte: the reply's Content-Range has the size. Where that is refused (an empty file has no
/// first byte) or says nothing, a plain GET is asked and given up at its head.
final class HTTPHeadExchange: Exchange, @unchecked Sendable {
  private let site: HTTPSite
  private let key: ObjectKey
  private let onRangesIgnored: @Sendable () -> Void
  private let completion: @Sendable (Result<ObjectAttributes, StoreError>) -> Void

  private var redirects: HTTPRedirects?
  private var asksWhole = false
  /// The Authorization that was sent last.
  private var shown: String?
  private var head: HTTPResponseHead?
  private var attributes: ObjectAttributes?
  private var received = 0

  /// A reply without a length is counted to its end, up to here, bytes.
  static let countedBytesMax = 64 << 20

  init(
    site: HTTPSite, key: ObjectKey, onRangesIgnored: @escaping @Sendable () -> Void,
    completion: @escaping @Sendable (Result<ObjectAttributes, StoreError>) -> Void
  ) {
    self.site = site
    self.key = key
    self.onRangesIgnored = onRangesIgnored
    self.completion = completion
  }

  var mayBeHedged: Bool { true }

  func nextRequest(attempt: Int) -> NextRequest {
    NextRequest { () throws(StoreError) in try makeRequest() }
  }

  private func makeRequest() throws(StoreError) -> HTTPRequest {
    site.metrics.headRequests.add()
    head = nil
    received = 0
    if redirects == nil { redirects = HTTPRedirects(start: try site.url(of: key)) }
    let request = site.request(
      redirects!.current, headers: asksWhole ? [] : [(name: "Range", value: "bytes=0-0")])
    shown = request.headers.first { $0.name == "Authorization" }?.value
    return request
  }

  func receive(head: HTTPResponseHead) -> BodyDisposition {
    self.head = head
    return head.status == 200 && head["content-length"] != nil ? .reject : .stream
  }

  func receive(body: UnsafeRawBufferPointer) -> Bool {
    received += body.count
    return received <= (head?.status == 200 ? Self.countedBytesMax : HTTPSite.drainedBytesMax)
  }

  func attemptEnded(_ outcome: AttemptOutcome) -> Verdict {
    let verdict = decide(outcome)
    if case .retry = verdict { redirects?.restart() }
    return verdict
  }

  private func decide(_ outcome: AttemptOutcome) -> Verdict {
    if case .transferFailed(let failure, _) = outcome, head == nil || head?.status == 200 {
      return site.verdict(on: failure, key)
    }
    guard let head else { return .failed(site.failure(.badReply, key, "an empty response")) }
    switch redirects?.follow(head) ?? .notRedirected {
    case .follow: return .again
    case .isFolder: return .failed(site.failure(.notFound, key, "it is a directory"))
    case .refused(let reason): return .failed(site.failure(.unsupported, key, reason))
    case .notRedirected: break
    }
    switch head.status {
    case 206:
      if let total = head["content-range"].flatMap(ContentRange.init)?.total {
        return known(size: total, head)
      }
      return askWhole("a range of unknown length")
    case 416: return askWhole("a range error for the first byte of a file")
    case 200:
      if let length = head["content-length"] {
        guard let size = ObjectSize.parse(length) else {
          return .failed(site.failure(.badReply, key, "a Content-Length of \"\(length)\""))
        }
        // nginx answers a range of an empty file so, and it means nothing.
        if !asksWhole && size > 1 { onRangesIgnored() }
        return known(size: size, head)
      }
      guard case .response = outcome else {
        let detail = "the server does not report the size of the file"
        return .failed(
          site.failure(.unsupported, key, detail, advice: HTTPStore.manifestAdvice))
      }
      return known(size: UInt64(received), head)
    default: return site.verdict(on: head, key, shown: shown)
    }
  }

  private func askWhole(_ said: String) -> Verdict {
    guard !asksWhole else {
      return .failed(
        site.failure(.badReply, key, "the server responded \(said) to a request for the whole file")
      )
    }
    asksWhole = true
    return .again
  }

  private func known(size: UInt64, _ head: HTTPResponseHead) -> Verdict {
    if let coding = head["content-encoding"], coding.lowercased() != "identity" {
      return .failed(
        site.failure(.unsupported, key, "the server sends the file compressed (\(coding))"))
    }
    attributes = ObjectAttributes(
      key: key, size: size, modified: head["last-modified"].flatMap(UTCTime.http),
      etag: HTTPRangeDelivery.strongETag(head) ?? "")
    return .succeeded
  }

  func finish(_ result: Result<Void, StoreError>) {
    switch result {
    case .failure(let error): completion(.failure(error))
    case .success:
      if let attributes {
        completion(.success(attributes))
      } else {
        completion(.failure(site.failure(.badReply, key, "an empty response")))
      }
    }
  }
}
