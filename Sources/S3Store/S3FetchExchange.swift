import Metrics
import ObjectStore
import Posix
import Transport

/// A ranged GET of one version, resumed where a transfer broke off.
final class S3FetchExchange: Exchange {
  private struct State {
    var attempt = S3Site.Attempt()
    var progress: S3FetchProgress
    var judgement = S3FetchProgress.Judgement.good
    /// The last head: an error's status is known even where its body cannot be had.
    var head: HTTPResponseHead?
    /// Answers that were not what was asked for.
    var badReplies = 0
  }

  /// A wrong response may come from a single server, so the request is retried. A store that always
  /// responds so is reported soon.
  private static let mostBadReplies = 5

  private let site: S3Site
  private let metrics: StoreMetrics
  private let sink: any FetchSink
  private let key: ObjectKey
  /// Of a tree as it was; `nil`: the latest.
  private let objectVersion: String?
  // The transport calls from one thread: the lock is never waited for, it only shows that to the compiler.
  private let state: Lock<State>

  init(
    _ request: FetchRequest, site: S3Site, metrics: StoreMetrics, sink: any FetchSink,
    verifiesETag: Bool = false
  ) {
    self.site = site
    self.metrics = metrics
    self.sink = sink
    key = request.version.key
    var version = request.version
    let tag = VersionTag(version.etag)
    version.etag = tag.etag
    objectVersion = tag.version
    state = Lock(
      State(
        progress: S3FetchProgress(
          version: version, range: request.range, verifiesETag: verifiesETag)))
  }

  var mayBeHedged: Bool { true }
  var isAwaited: Bool { sink.isAwaited }
  func waitedForLimit(_ time: Duration) { sink.waitedForLimit(time) }
  var expectedBytes: Int { state.withLock { Int($0.progress.remaining) } }

  func nextRequest(attempt: Int) -> NextRequest {
    var (attempt, headers) = state.withLock { ($0.attempt, $0.progress.headers) }
    let query = objectVersion.map { [(name: "versionId", value: Array($0.utf8))] } ?? []
    let next = site.request(.get, key: key, query: query, headers: headers, attempt: &attempt)
    if case .waiting = next { return next }
    metrics.getRequests.add()
    state.withLock { state in
      state.head = nil
      state.judgement = .good
      state.attempt = attempt
    }
    return next
  }

  func receive(head: HTTPResponseHead) -> BodyDisposition {
    let (disposition, isVerified): (BodyDisposition, Bool) = state.withLock { state in
      state.head = head
      guard head.status == 200 || head.status == 206 else {
        return (.collect(limit: S3Failure.bodyLimit), false)
      }
      state.judgement = state.progress.judge(head)
      if state.judgement != .good { return (.reject, false) }
      return (.stream, state.progress.begin(head))
    }
    if isVerified { sink.beginVerified() }
    return disposition
  }

  func receive(body: UnsafeRawBufferPointer) -> Bool {
    metrics.bytesFetched.add(body.count)
    let fits = state.withLock { $0.progress.take(body) }
    if fits { sink.receive(body) }
    return fits
  }

  func attemptEnded(_ outcome: AttemptOutcome) -> Verdict {
    state.withLock { state in verdict(outcome, &state) }
  }

  private func verdict(_ outcome: AttemptOutcome, _ state: inout State) -> Verdict {
    switch outcome {
    case .response(let head, let body):
      if head.status == 200 || head.status == 206 { return endOfBody(&state) }
      return site.verdict(
        S3Failure(head, body: body.bytes), subject: objectVersion == nil ? .object : .version,
        key: key, attempt: &state.attempt)
    case .rejected:
      return rejection(&state)
    case .transferFailed(let failure, _):
      // Broken off after the last byte that counts: nothing is missing.
      if state.progress.isComplete { return endOfBody(&state) }
      if let head = state.head, head.status != 200, head.status != 206 {
        return site.verdict(
          S3Failure(head, body: []), subject: objectVersion == nil ? .object : .version, key: key,
          attempt: &state.attempt)
      }
      return site.verdict(failure, key: key)
    }
  }

  private func endOfBody(_ state: inout State) -> Verdict {
    guard state.progress.isComplete else {
      return .retry(
        cause: site.error(
          .badReply, key: key, "truncated response: fewer bytes than its Content-Length"))
    }
    if state.progress.checksum != nil { metrics.objectsVerified.add() }
    guard case .mismatch(let algorithm) = state.progress.end() else { return .succeeded }
    metrics.checksumMismatches.add()
    let cause = site.error(
      .badReply, key: key, "\(algorithm) mismatch: the content differs from the store's checksum",
      advice:
        "the object is corrupt in the store or was corrupted in transit; upload it again if this persists"
    )
    return state.progress.mismatches < 2 ? .retry(cause: cause) : .failed(cause)
  }

  private func rejection(_ state: inout State) -> Verdict {
    let why: String
    switch state.judgement {
    case .changed(let change):
      return .failed(
        site.error(.changed, key: key, "the object changed in the store: \(change)"))
    case .bad(let what): why = "invalid response from the store: \(what)"
    case .good: why = "the store sent more bytes than requested"
    }
    let cause = site.error(.badReply, key: key, why, advice: "check --endpoint-url")
    state.badReplies += 1
    return state.badReplies < Self.mostBadReplies ? .retry(cause: cause) : .failed(cause)
  }

  func finish(_ result: Result<Void, StoreError>) {
    let result = site.named(result, key: key)
    metrics.count(result)
    sink.finish(result)
  }
}

extension StoreMetrics {
  /// What a user would call an error: not a name that does not exist, nor a request that was cancelled.
  func count<Value>(_ result: Result<Value, StoreError>) {
    guard case .failure(let error) = result else { return }
    if error.kind != .notFound && error.kind != .cancelled { errors.add() }
  }
}
