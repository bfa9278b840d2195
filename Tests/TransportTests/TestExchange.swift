import Logging
import Metrics
import ObjectStore
import Posix
import Testing

@testable import Transport

/// An exchange made of closures that records everything it was told.
final class TestExchange: Exchange {
  struct Record {
    var attempts: [Int] = []
    var heads: [HTTPResponseHead] = []
    var received: [UInt8] = []
    var outcomes: [AttemptOutcome] = []
    var result: Result<Void, StoreError>?
    var finishes = 0
    var limitWait = Duration.zero
  }

  private let monitor = Monitor(Record())
  private let makeRequest: @Sendable (_ attempt: Int, _ received: Int) -> NextRequest
  private let disposition: @Sendable (HTTPResponseHead) -> BodyDisposition
  private let takes: @Sendable (_ received: Int) -> Bool
  private let verdict: @Sendable (AttemptOutcome) -> Verdict
  private let onFinish: @Sendable () -> Void
  let mayBeHedged: Bool
  let awaited = Lock(true)
  var isAwaited: Bool { awaited.withLock { $0 } }

  convenience init(
    mayBeHedged: Bool = false,
    disposition: @escaping @Sendable (HTTPResponseHead) -> BodyDisposition = { _ in .stream },
    takes: @escaping @Sendable (Int) -> Bool = { _ in true },
    verdict: @escaping @Sendable (AttemptOutcome) -> Verdict = retryingVerdict,
    onFinish: @escaping @Sendable () -> Void = {},
    request: @escaping @Sendable (_ attempt: Int, _ received: Int) -> HTTPRequest
  ) {
    self.init(
      next: { .ready(request($0, $1)) }, mayBeHedged: mayBeHedged, disposition: disposition,
      takes: takes, verdict: verdict, onFinish: onFinish)
  }

  private init(
    next: @escaping @Sendable (_ attempt: Int, _ received: Int) -> NextRequest,
    mayBeHedged: Bool, disposition: @escaping @Sendable (HTTPResponseHead) -> BodyDisposition,
    takes: @escaping @Sendable (Int) -> Bool,
    verdict: @escaping @Sendable (AttemptOutcome) -> Verdict,
    onFinish: @escaping @Sendable () -> Void
  ) {
    self.disposition = disposition
    self.takes = takes
    self.verdict = verdict
    self.onFinish = onFinish
    self.mayBeHedged = mayBeHedged
    makeRequest = next
  }

  /// One that may have to wait before it has a request.
  static func asking(
    _ next: @escaping @Sendable (_ attempt: Int) -> NextRequest
  ) -> TestExchange {
    TestExchange(
      next: { attempt, _ in next(attempt) }, mayBeHedged: false, disposition: { _ in .stream },
      takes: { _ in true }, verdict: retryingVerdict, onFinish: {})
  }

  /// Gets `url`, and after a failure what is missing of it.
  static func get(
    _ url: String, mayBeHedged: Bool = false,
    disposition: @escaping @Sendable (HTTPResponseHead) -> BodyDisposition = {
      $0.status < 300 ? .stream : .collect(limit: 4096)
    }, verdict: @escaping @Sendable (AttemptOutcome) -> Verdict = retryingVerdict
  ) -> TestExchange {
    TestExchange(mayBeHedged: mayBeHedged, disposition: disposition, verdict: verdict) {
      _, received in
      HTTPRequest(url: url, headers: received > 0 ? [("Range", "bytes=\(received)-")] : [])
    }
  }

  var record: Record { monitor.withLock { $0 } }

  func waitedForLimit(_ time: Duration) { monitor.withLock { $0.limitWait += time } }

  func nextRequest(attempt: Int) -> NextRequest {
    let received = monitor.signal(all: true) { record in
      record.attempts.append(attempt)
      return record.received.count
    }
    return makeRequest(attempt, received)
  }

  func receive(head: HTTPResponseHead) -> BodyDisposition {
    monitor.signal(all: true) { $0.heads.append(head) }
    return disposition(head)
  }

  func receive(body: UnsafeRawBufferPointer) -> Bool {
    takes(
      monitor.signal(all: true) { record in
        record.received.append(contentsOf: body)
        return record.received.count
      })
  }

  func attemptEnded(_ outcome: AttemptOutcome) -> Verdict {
    monitor.signal(all: true) { $0.outcomes.append(outcome) }
    return verdict(outcome)
  }

  func finish(_ result: Result<Void, StoreError>) {
    onFinish()
    monitor.signal(all: true) { record in
      record.result = result
      record.finishes += 1
    }
  }

  /// The end; nil after half a minute, which fails the test rather than hang it.
  @discardableResult
  func wait() -> Result<Void, StoreError>? {
    monitor.wait(until: .now + .seconds(30)) { $0.result }
  }

  func wait(for condition: (Record) -> Bool) -> Bool {
    monitor.wait(until: .now + .seconds(30)) { condition($0) ? true : nil } ?? false
  }

  var error: StoreError? {
    guard case .failure(let error) = record.result else { return nil }
    return error
  }

  /// What the failed attempts were called.
  var failures: [TransferFailure.Kind] {
    record.outcomes.compactMap { outcome in
      if case .transferFailed(let failure, _) = outcome { return failure.kind }
      return nil
    }
  }
}

/// As a store would judge: 2xx is well, 5xx and broken transfers are tried again.
@Sendable func retryingVerdict(_ outcome: AttemptOutcome) -> Verdict {
  switch outcome {
  case .response(let head, _) where head.status < 300: return .succeeded
  case .response(let head, _) where head.status == 503:
    return .retry(cause: testError(.throttled, "503"), isThrottle: true)
  case .response(let head, _) where head.status >= 500:
    return .retry(cause: testError(.serverFailure, "\(head.status)"))
  case .response(let head, _): return .failed(testError(.notFound, "\(head.status)"))
  case .rejected(let head): return .failed(testError(.badReply, "rejected \(head.status)"))
  case .transferFailed(let failure, _):
    return .retry(cause: testError(.unreachable, failure.detail))
  }
}

/// For tests of the first failure's class.
@Sendable func failingVerdict(_ outcome: AttemptOutcome) -> Verdict {
  if case .retry(let cause, _, _) = retryingVerdict(outcome) { return .failed(cause) }
  return retryingVerdict(outcome)
}

func testError(_ kind: StoreError.Kind, _ detail: String) -> StoreError {
  StoreError(kind, store: "test://store", key: ObjectKey("a/key"), detail: detail)
}

/// The default limits, changed to what a test can wait for.
func limits(_ change: (inout TransportConfiguration) -> Void) -> TransportConfiguration {
  var configuration = TransportConfiguration()
  change(&configuration)
  return configuration
}

/// A transport for one test, shut down at its end.
func withTransport<Result>(
  _ configuration: TransportConfiguration = TransportConfiguration(),
  _ body: (Transport, StoreMetrics) throws -> Result
) rethrows -> Result {
  let metrics = Metrics().store
  let transport = Transport(
    configuration: configuration, metrics: metrics, log: Logger(label: "test"))
  defer { transport.shutdown() }
  return try body(transport, metrics)
}

func soon(_ seconds: Int = 20) -> Instant { .now + .seconds(seconds) }
