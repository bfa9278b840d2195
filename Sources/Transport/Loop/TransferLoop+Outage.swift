import Logging
import Metrics
import ObjectStore
import Posix

/// A store that is away: it is named, and waited for.
extension TransferLoop {
  func watchOutage(_ task: ExchangeTask, _ verdict: Verdict) {
    switch verdict {
    case .retry(let cause, _, _), .failed(let cause):
      if OutageWatch.concerns(cause) { return outageGoesOn(cause, since: task.sentAt) }
      // Garbage says neither that the store is there nor that it is away.
      if OutageWatch.isAnswer(cause) { outageEnds() }
    case .succeeded, .again: outageEnds()
    }
  }

  private func outageGoesOn(_ cause: StoreError, since start: Instant) {
    outage.failed(cause, startedAt: start, now: .now)
    publishOutage()
  }

  /// From its first seconds on: one failure is no outage yet.
  private func publishOutage() {
    guard let since = outage.since, let cause = outage.cause, isAway else { return }
    metrics.health.isAway(
      ObjectIdentifier(self), since: Int64(clamping: since.nanoseconds),
      error: cause.description, isThrottled: cause.kind == .throttled)
  }

  func outageEnds() {
    guard outage.since != nil else { return }
    let store = outage.cause?.store ?? ""
    let lasted = outage.answered(now: .now)
    metrics.health.answers(ObjectIdentifier(self))
    if let lasted {
      log.notice("\(store): the store responds again after \(Int(lasted.seconds)) s")
    }
  }

  /// No request has succeeded for some seconds.
  private var isAway: Bool {
    outage.since.map { Instant.now - $0 >= min(configuration.namesOutageAfter, Self.leastOutage) }
      ?? false
  }

  private static let leastOutage = Duration.seconds(10)

  /// Whether an exchange is tried beyond the usual number of attempts.
  var waitsForStore: Bool { configuration.waitsWhileAway && isAway }

  /// Once a round of the loop.
  func nameOutage() {
    guard let since = outage.since else { return }
    if live.isEmpty {
      outage.clear()
      metrics.health.answers(ObjectIdentifier(self))
      return
    }
    guard Instant.now >= outage.nextCheck else { return }
    // One that is being answered has not ended yet.
    let isAnswered = live.contains { task in
      guard case .running(let transfer, _) = task.phase, let answered = transfer.answeredAt else {
        return false
      }
      return answered > since && transfer.status.map { $0 < 400 } == true
    }
    if isAnswered { return outageEnds() }
    if let line = outage.line(now: .now) {
      log.warning(
        """
        store \(line.cause.kind == .throttled ? "throttled" : "unreachable") for \(Int(line.lasted.seconds)) s: \(line.cause); requests are retried, and each read waits \
        for as long as --io-timeout allows
        """)
    }
  }
}
