import Logging
import Posix

/// Warm, pin, evict, count: what is done to files by hand.
extension Prefetcher {
  /// Name of the order that a warm-up gives.
  private static let warmOrder = "warm"

  /// Begins a job; its report tells the rest.
  public func start(_ request: JobRequest) throws(JobRefusal) -> JobReport {
    var request = request
    guard !request.paths.isEmpty else { throw JobRefusal(.invalid, "no path given") }
    guard request.paths.count <= OrderText.lineLimit else {
      throw JobRefusal(.tooLarge, "more than \(OrderText.lineLimit) paths; submit them in parts")
    }
    request.width = max(1, min(JobRequest.mostWidth, request.width))
    let job = try beginning.withLock { _ throws(JobRefusal) in
      // No order is taken for a job that then is refused.
      if request.action == .warm, request.isOrder {
        try board.checkRoom()
        try takeAsOrder(request.paths)
      }
      return try board.start(request, fileSystem, engine, metrics)
    }
    log.info("job started", metadata: ["id": "\(job.report.id)", "action": "\(request.action)"])
    return job.report
  }

  private func takeAsOrder(_ paths: [[UInt8]]) throws(JobRefusal) {
    let bytes = Array(paths.joined(separator: [UInt8(ascii: "\n")]))
    do throws(OrderFailure) {
      // The job names each path that does not exist.
      try take(order: bytes, name: Self.warmOrder, checks: false)
    } catch {
      throw JobRefusal(error == .tooLarge ? .tooLarge : .busy, error.description)
    }
  }

  /// Nil: there is none of that id, or it was long ago.
  public func job(_ id: String) -> JobReport? { board.job(id)?.report }

  /// Ends a job; what it has fetched stays. Nil: there is none of that id.
  public func cancel(_ id: String) -> JobReport? {
    let job = board.job(id)
    job?.cancel()
    return job?.report
  }

  public var jobs: [JobReport] { board.reports }
}
