import Formats
import Metrics
import ObjectStore
import Posix
import Transport

/// HEAD of one object.
final class S3HeadExchange: Exchange {
  private struct State {
    var attempt = S3Site.Attempt()
    var found: ObjectAttributes?
  }

  private let key: ObjectKey
  private let site: S3Site
  private let metrics: StoreMetrics
  private let completion: @Sendable (Result<ObjectAttributes, StoreError>) -> Void
  private let state = Lock(State())

  init(
    _ key: ObjectKey, site: S3Site, metrics: StoreMetrics,
    completion: @escaping @Sendable (Result<ObjectAttributes, StoreError>) -> Void
  ) {
    self.key = key
    self.site = site
    self.metrics = metrics
    self.completion = completion
  }

  var mayBeHedged: Bool { true }

  func nextRequest(attempt: Int) -> NextRequest {
    var attempt = state.withLock { $0.attempt }
    let next = site.request(.head, key: key, attempt: &attempt)
    if case .waiting = next { return next }
    metrics.headRequests.add()
    state.withLock { $0.attempt = attempt }
    return next
  }

  func receive(head: HTTPResponseHead) -> BodyDisposition { .collect(limit: S3Failure.bodyLimit) }

  func receive(body: UnsafeRawBufferPointer) -> Bool { false }

  func attemptEnded(_ outcome: AttemptOutcome) -> Verdict {
    state.withLock { state in
      switch outcome {
      case .response(let head, let body):
        guard head.status == 200 else {
          return site.verdict(
            S3Failure(head, body: body.bytes), subject: .object, key: key, attempt: &state.attempt)
        }
        state.found = Self.attributes(key, head)
        if state.found != nil { return .succeeded }
        return .failed(
          site.error(.badReply, key: key, "the response has no Content-Length"))
      case .rejected:
        return .failed(site.error(.badReply, key: key, "the response was rejected"))
      case .transferFailed(let failure, _):
        return site.verdict(failure, key: key)
      }
    }
  }

  static func attributes(_ key: ObjectKey, _ head: HTTPResponseHead) -> ObjectAttributes? {
    guard let size = head["content-length"].flatMap({ ObjectSize.parse($0) }) else { return nil }
    // A restored copy can be read: x-amz-restore then says ongoing-request="false".
    let isRestored = head["x-amz-restore"]?.hasPrefix("ongoing-request=\"false\"") ?? false
    return ObjectAttributes(
      key: key, size: size, modified: head["last-modified"].flatMap(UTCTime.http),
      etag: EntityTag.normalized(head["etag"] ?? ""),
      isArchived: S3Listing.isArchive(head["x-amz-storage-class"] ?? "") && !isRestored)
  }

  func finish(_ result: Result<Void, StoreError>) {
    let found = state.withLock { $0.found }
    let result = site.named(result, key: key).flatMap {
      () -> Result<ObjectAttributes, StoreError> in
      found.map { .success($0) } ?? .failure(site.error(.badReply, key: key, "no response"))
    }
    metrics.count(result)
    completion(result)
  }
}
