public import FileSystem
public import Metrics
import NIOHTTP1
public import Prefetch

/// What a mount's control socket can be asked for; paths are relative to the mount. Each is called on one
/// of the few threads that answer requests, and must not block it.
public struct ControlActions: Sendable {
  public var stats: @Sendable () -> StatsReport
  /// What processes counted; `byName`: also by their names.
  public var totals: @Sendable (_ byName: Bool) -> ProcessTotals
  /// Returns the number of folders that were forgotten.
  public var refresh: @Sendable (_ path: [UInt8]) -> Int
  public var update:
    @Sendable (_ path: [UInt8], _ reply: @escaping @Sendable (UpdateReport) -> Void) -> Void
  public var prefetcher: Prefetcher

  public init(
    stats: @escaping @Sendable () -> StatsReport,
    totals: @escaping @Sendable (_ byName: Bool) -> ProcessTotals,
    refresh: @escaping @Sendable (_ path: [UInt8]) -> Int,
    update:
      @escaping @Sendable (
        _ path: [UInt8], _ reply: @escaping @Sendable (UpdateReport) -> Void
      ) -> Void,
    prefetcher: Prefetcher
  ) {
    self.stats = stats
    self.totals = totals
    self.refresh = refresh
    self.update = update
    self.prefetcher = prefetcher
  }
}

/// Requests of docs/api.md and their answers.
struct Routes: Sendable {
  let actions: ControlActions

  /// Seconds that a client may have a job's report wait for the job.
  private static let longestWait = 3600.0
  /// Bytes of a request's body: the paths of a job, an order.
  static let bodyLimit = Prefetcher.orderLimit

  func handle(_ request: ControlRequest) async -> ControlResponse {
    do { return try await respond(request) } catch {
      return Self.refuse(.internalServerError, "the request failed: \(error)")
    }
  }

  private func respond(_ request: ControlRequest) async throws -> ControlResponse {
    let query = request.query
    let names = request.path.split(separator: "/").map(String.init)
    guard names.first == "v1", (2...3).contains(names.count) else { return Self.unknown(request) }
    let name = names.count == 3 ? QueryText.decoded(pathPart: names[2]) : nil
    switch (request.method, names[1], name) {
    case (.GET, "stats", nil): return try Self.answer(actions.stats())
    case (.GET, "metrics", nil):
      let text = MetricsText.text(of: actions.stats(), actions.totals(query["processes"] == "1"))
      return ControlResponse(contentType: MetricsText.contentType, body: Array(text.utf8))
    case (.POST, "refresh", nil):
      return try Self.answer(RefreshReport(directories: actions.refresh(query.path)))
    case (.POST, "update", nil):
      let found = await withCheckedContinuation { done in
        actions.update(query.path) { done.resume(returning: $0) }
      }
      return try Self.answer(found)
    case (.POST, "order", _):
      return try await takeOrder(request, name ?? query["name"] ?? "")
    case (.DELETE, "order", _):
      return actions.prefetcher.removeOrder(name ?? "")
        ? try Self.answer(Done()) : Self.refuse(.notFound, "no order has this name")
    case (.GET, "jobs", nil): return try Self.answer(actions.prefetcher.jobs)
    case (.GET, "jobs", let id?):
      guard let wait = Self.wait(query) else { return Self.noWait }
      return try await report(id, wait: wait)
    case (.DELETE, "jobs", let id?):
      guard let report = actions.prefetcher.cancel(id) else { return Self.noJob(id) }
      return try Self.answer(report)
    case (.POST, let action, nil):
      guard let action = JobRequest.Action(rawValue: action) else { return Self.unknown(request) }
      return try await start(action, request)
    default: return Self.unknown(request)
    }
  }

  private func start(
    _ action: JobRequest.Action, _ request: ControlRequest
  ) async throws -> ControlResponse {
    if let refusal = Self.refusal(request.body, "a body") { return refusal }
    guard let wait = Self.wait(request.query) else { return Self.noWait }
    let job: JobRequest
    do {
      job = try JobText.request(
        action, request.query, request.body.bytes, type: request.contentType)
    } catch {
      return Self.refuse(.badRequest, "\(error)")
    }
    do {
      let report = try actions.prefetcher.start(job)
      guard request.query["wait"] != nil else { return try Self.answer(report, .accepted) }
      return try await self.report(report.id, wait: wait)
    } catch let refusal as JobRefusal {
      return Self.refuse(Self.code(of: refusal.kind), refusal.description)
    }
  }

  private static func code(of kind: JobRefusal.Kind) -> HTTPResponseStatus {
    switch kind {
    case .invalid: .badRequest
    case .tooLarge: .payloadTooLarge
    case .busy: .tooManyRequests
    case .stopping: .serviceUnavailable
    }
  }

  /// The report at once, or when the job is over or `wait` seconds are.
  private func report(_ id: String, wait: Double) async throws -> ControlResponse {
    let end = ContinuousClock.now + .seconds(wait)
    while let report = actions.prefetcher.job(id) {
      if report.state != .running || ContinuousClock.now >= end { return try Self.answer(report) }
      do { try await Task.sleep(for: .milliseconds(20)) } catch {
        return Self.refuse(.serviceUnavailable, "the mount is being unmounted")
      }
    }
    return Self.noJob(id)
  }

  /// Seconds, 0 where none are given; nil: what is given is none.
  private static func wait(_ query: QueryText) -> Double? {
    guard let text = query["wait"] else { return 0 }
    guard let seconds = Double(text), seconds >= 0 else { return nil }
    return min(seconds, longestWait)
  }

  private static var noWait: ControlResponse {
    refuse(.badRequest, "wait: expected seconds from 0 to \(Int(longestWait))")
  }

  private func takeOrder(_ request: ControlRequest, _ name: String) async throws -> ControlResponse
  {
    guard name.utf8.count <= Prefetcher.orderNameLimit else {
      return Self.refuse(
        .badRequest, "an order's name has at most \(Prefetcher.orderNameLimit) bytes")
    }
    if let refusal = Self.refusal(request.body, "an order") { return refusal }
    let taken = await withCheckedContinuation { done in
      actions.prefetcher.take(order: request.body.bytes, name: name) { done.resume(returning: $0) }
    }
    switch taken {
    case .success(let receipt): return try Self.answer(receipt)
    case .failure(let error): return Self.refuse(Self.code(of: error), error.description)
    }
  }

  private static func code(of failure: Prefetcher.OrderFailure) -> HTTPResponseStatus {
    switch failure {
    case .tooLarge: .payloadTooLarge
    case .nothingFound: .badRequest
    case .tooMany, .noMemory: .tooManyRequests
    }
  }

  /// Why the body cannot be taken.
  private static func refusal(_ body: RequestBodies.Body, _ what: String) -> ControlResponse? {
    switch body.excess {
    case nil: return nil
    case .own: return refuse(.payloadTooLarge, "\(what) has at most \(bodyLimit >> 20) MiB")
    case .others:
      return refuse(
        .tooManyRequests,
        "the bodies of other requests use all of \(bodyLimit >> 20) MiB; retry when they are done"
      )
    }
  }

  // MARK: Answers

  private struct Done: Codable { var done = true }

  private struct Refusal: Codable { var error: String }

  private static func noJob(_ id: String) -> ControlResponse {
    refuse(.notFound, "there is no job \(id); the last 64 jobs are kept")
  }

  private static func unknown(_ request: ControlRequest) -> ControlResponse {
    refuse(.notFound, "there is no \(request.method.rawValue) \(request.path): see docs/api.md")
  }

  static func refuse(_ code: HTTPResponseStatus, _ reason: String) -> ControlResponse {
    (try? answer(Refusal(error: reason), code)) ?? ControlResponse(status: code)
  }

  private static func answer(
    _ report: some Encodable, _ code: HTTPResponseStatus = .ok
  ) throws -> ControlResponse {
    ControlResponse(status: code, body: try StatsReport.encode(report))
  }
}

/// The response to `millrace refresh`.
public struct RefreshReport: Sendable, Codable {
  /// Directories whose listing was dropped.
  public var directories: Int
}
