import Formats
import Metrics
import ObjectStore
import Transport

/// Fetches a range of one version of a file into a sink: the thin shell around
/// `HTTPRangeDelivery`. A reply that breaks off is asked for again from where it stopped.
final class HTTPRangeExchange: Exchange, @unchecked Sendable {
  private let site: HTTPSite
  private let sink: any FetchSink
  private let onRangesIgnored: @Sendable () -> Void
  private var key: ObjectKey { delivery.version.key }

  private var delivery: HTTPRangeDelivery
  /// Shared with the other fetches of the version.
  private let learnt: LearntETag
  private var redirects: HTTPRedirects?
  /// The Authorization that was sent last.
  private var shown: String?
  private var head: HTTPResponseHead?
  private var refusal: HTTPRangeDelivery.Refusal?
  private var isDelivering = false
  private var drained = 0
  private var restarts = 0
  /// SHA-256 of the whole file, where the site states it.
  private var digest: [UInt8]?
  private var checksum: StoreChecksum?
  private var mismatches = 0

  init(
    site: HTTPSite, delivery: HTTPRangeDelivery, learnt: LearntETag, sink: any FetchSink,
    onRangesIgnored: @escaping @Sendable () -> Void
  ) {
    self.site = site
    self.delivery = delivery
    self.learnt = learnt
    self.sink = sink
    self.onRangesIgnored = onRangesIgnored
  }

  var mayBeHedged: Bool { true }
  var isAwaited: Bool { sink.isAwaited }
  func waitedForLimit(_ time: Duration) { sink.waitedForLimit(time) }
  var expectedBytes: Int { Int(clamping: delivery.remaining) }

  func nextRequest(attempt: Int) -> NextRequest {
    NextRequest { () throws(StoreError) in try makeRequest() }
  }

  private func makeRequest() throws(StoreError) -> HTTPRequest {
    site.metrics.getRequests.add()
    (head, refusal, isDelivering, drained) = (nil, nil, false, 0)
    if redirects == nil {
      redirects = HTTPRedirects(start: try site.url(of: key))
      if let place = site.found.place(of: key) {
        redirects?.begin(at: place.url)
        digest = place.digest
      }
    }
    let request = site.request(redirects!.current, headers: delivery.requestHeaders)
    shown = request.headers.first { $0.name == "Authorization" }?.value
    return request
  }

  func receive(head: HTTPResponseHead) -> BodyDisposition {
    self.head = head
    let length = StoreChecksum.Algorithm.sha256.length
    if let linked = head["x-linked-etag"].flatMap({
      StoreChecksum.digest(ofETag: $0, length: length)
    }) {
      digest = linked
    }
    guard head.status == 200 || head.status == 206 else { return .stream }
    do throws(HTTPRangeDelivery.Refusal) {
      try delivery.accept(head)
      try keepETag()
    } catch {
      refusal = error
      return .reject
    }
    if let place = redirects, place.hasLeft {
      site.found.remember(key, at: RedirectMemory.Place(url: place.current, digest: digest))
    }
    beginChecksum()
    if delivery.ignoresRanges { onRangesIgnored() }
    isDelivering = true
    return .stream
  }

  /// Two fetches of one version may have begun before either knew its ETag.
  private func keepETag() throws(HTTPRangeDelivery.Refusal) {
    guard delivery.version.etag.isEmpty, let etag = delivery.etag else { return }
    let kept = learnt.keep(etag)
    if kept != etag { throw .changed("the file changed: ETag \(etag), was \(kept)") }
  }

  func receive(body: UnsafeRawBufferPointer) -> Bool {
    guard isDelivering else {
      drained += body.count
      return drained <= HTTPSite.drainedBytesMax
    }
    let taken = delivery.take(body.count)
    if !taken.isEmpty {
      site.metrics.bytesFetched.add(taken.count)
      let bytes = UnsafeRawBufferPointer(rebasing: body[taken])
      checksum?.update(bytes)
      sink.receive(bytes)
    }
    // The rest of a file that came whole is not waited for.
    return !delivery.isComplete || taken.upperBound == body.count
  }

  /// A small file whose digest the site states is verified before a byte of it counts.
  private func beginChecksum() {
    guard let digest, delivery.isAtStartOfWhole,
      delivery.version.size <= StoreChecksum.verifiedSize
    else { return }
    checksum = StoreChecksum(.sha256, expected: digest)
    sink.beginVerified()
  }

  private func endOfFile() -> Verdict {
    guard let checksum else { return .succeeded }
    site.metrics.objectsVerified.add()
    if checksum.holds { return .succeeded }
    site.metrics.checksumMismatches.add()
    mismatches += 1
    let cause = site.failure(
      .badReply, key, "SHA-256 mismatch: the content differs from the site's checksum",
      advice: "the file is corrupt at the origin or was corrupted in transit")
    guard mismatches < 2 else { return .failed(cause) }
    delivery.restart()
    return .retry(cause: cause)
  }

  func attemptEnded(_ outcome: AttemptOutcome) -> Verdict {
    let verdict = decide(outcome)
    if case .retry = verdict { redirects?.restart() }
    return verdict
  }

  private func decide(_ outcome: AttemptOutcome) -> Verdict {
    if delivery.isComplete { return endOfFile() }
    switch refusal {
    case .changed(let detail): return .failed(site.failure(.changed, key, detail))
    case .badReply(let detail): return .failed(site.failure(.badReply, key, detail))
    case nil: break
    }
    if case .transferFailed(let failure, _) = outcome, head == nil || isDelivering {
      return site.verdict(on: failure, key)
    }
    if isDelivering {
      return .retry(cause: site.failure(.badReply, key, "truncated response"))
    }
    guard let head else { return .failed(site.failure(.badReply, key, "an empty response")) }
    switch redirects?.follow(head) ?? .notRedirected {
    case .follow: return .again
    case .isFolder: return .failed(site.failure(.notFound, key, "it is a directory now"))
    case .refused(let reason): return .failed(site.failure(.unsupported, key, reason))
    case .notRedirected: break
    }
    // A signed address has run out, or what was there has moved on: the site says where it is now.
    if redirects?.hasLeft == true, [400, 401, 403, 404, 410].contains(head.status), restarts < 2 {
      restarts += 1
      site.found.forget(key)
      redirects?.restart()
      return .again
    }
    if head.status == 416 {
      return .failed(site.failure(.changed, key, "the file changed: it is shorter now"))
    }
    return site.verdict(on: head, key, shown: shown)
  }

  func finish(_ result: Result<Void, StoreError>) { sink.finish(result) }
}
