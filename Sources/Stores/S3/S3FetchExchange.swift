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
    var sentTooMuch = false
  }

  private let site: S3Site
  private let metrics: StoreMetrics
  private let sink: any FetchSink
  private let key: ObjectKey
  // The transport calls from one thread: the lock is never waited for, it only shows that to the compiler.
  private let state: Lock<State>

  init(_ request: FetchRequest, site: S3Site, metrics: StoreMetrics, sink: any FetchSink) {
    self.site = site
    self.metrics = metrics
    self.sink = sink
    key = request.version.key
    state = Lock(State(progress: S3FetchProgress(version: request.version, range: request.range)))
  }

  var mayBeHedged: Bool { true }
  var isAwaited: Bool { sink.isAwaited }

  var hindrance: StoreError? { site.hindrance(key) }

  func makeRequest(attempt: Int) throws(StoreError) -> HTTPRequest {
    metrics.getRequests.add()
    var (attempt, headers) = state.withLock { state in
      state.head = nil
      state.judgement = .good
      return (state.attempt, state.progress.headers)
    }
    defer { state.withLock { $0.attempt = attempt } }
    return try site.request(.get, key: key, headers: headers, attempt: &attempt)
  }

  func receive(head: HTTPResponseHead) -> BodyDisposition {
    state.withLock { state in
      state.head = head
      guard head.status == 200 || head.status == 206 else {
        return .collect(limit: S3Failure.bodyLimit)
      }
      state.judgement = state.progress.judge(head)
      return state.judgement == .good ? .stream : .reject
    }
  }

  func receive(body: UnsafeRawBufferPointer) -> Bool {
    metrics.bytesFetched.add(body.count)
    let fits = state.withLock { state in
      let fits = state.progress.take(body.count)
      state.sentTooMuch = !fits
      return fits
    }
    if fits { sink.receive(body) }
    return fits
  }

  func attemptEnded(_ outcome: AttemptOutcome) -> Verdict {
    state.withLock { state in verdict(outcome, &state) }
  }

  private func verdict(_ outcome: AttemptOutcome, _ state: inout State) -> Verdict {
    switch outcome {
    case .response(let head, let body):
      if head.status == 200 || head.status == 206 { return endOfBody(state) }
      return site.verdict(
        S3Failure(head, body: body), subject: .object, key: key, attempt: &state.attempt)
    case .rejected:
      return rejection(state)
    case .transferFailed(let failure, _):
      // Broken off after the last byte that counts: nothing is missing.
      if state.progress.isComplete { return .succeeded }
      if let head = state.head, head.status != 200, head.status != 206 {
        return site.verdict(
          S3Failure(head, body: []), subject: .object, key: key, attempt: &state.attempt)
      }
      return site.verdict(failure, key: key)
    }
  }

  private func endOfBody(_ state: State) -> Verdict {
    if state.progress.isComplete { return .succeeded }
    return .retry(
      cause: site.error(
        .badReply, key: key, "the store sent fewer bytes than it had announced"))
  }

  private func rejection(_ state: State) -> Verdict {
    if state.sentTooMuch {
      return .failed(
        site.error(.badReply, key: key, "the store sent more bytes than were asked for"))
    }
    switch state.judgement {
    case .changed(let why):
      return .failed(
        site.error(.changed, key: key, "the object was changed in the store: \(why)"))
    case .bad(let why):
      return .failed(
        site.error(
          .badReply, key: key, "the store answers wrongly: \(why)", advice: "check --endpoint-url"))
    case .good:
      return .failed(site.error(.badReply, key: key, "the answer was refused"))
    }
  }

  func finish(_ result: Result<Void, StoreError>) {
    let result = site.named(result, key: key)
    metrics.count(result)
    sink.finish(result)
  }
}

extension StoreMetrics {
  /// What a user would call an error: not a name that is not there, nor what nobody waits for any more.
  func count<Value>(_ result: Result<Value, StoreError>) {
    guard case .failure(let error) = result else { return }
    if error.kind != .notFound && error.kind != .cancelled { errors.add() }
  }
}
