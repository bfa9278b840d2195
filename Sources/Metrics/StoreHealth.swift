import Posix

/// Whether the store answers: fed by the transports, shown by `millrace stats`.
public final class StoreHealth: Sendable {
  private struct Outage {
    /// Nanoseconds on the clock of `Instant`.
    var since: Int64
    var isThrottled: Bool
  }

  private struct State {
    /// By transport: a mount has one for each site that its objects lie on.
    var outages: [ObjectIdentifier: Outage] = [:]
    var lastError: String?
  }

  private let state = Lock(State())

  public init() {}

  /// Requests that are waited for fail, and none of that transport's has succeeded since.
  public func isAway(
    _ transport: ObjectIdentifier, since: Int64, error: String, isThrottled: Bool
  ) {
    state.withLock { state in
      state.outages[transport] = Outage(since: since, isThrottled: isThrottled)
      state.lastError = error
    }
  }

  /// A request succeeded, or none waits any more.
  public func answers(_ transport: ObjectIdentifier) {
    state.withLock { $0.outages[transport] = nil }
  }

  /// `now`: as in `isAway`. Of several outages the oldest.
  public func report(at now: Int64) -> StoreStatus {
    state.withLock { state in
      let oldest = state.outages.values.min { $0.since < $1.since }
      var status = StoreStatus(lastError: state.lastError)
      status.unreachableSeconds = oldest.map { Double(max(0, now - $0.since)) / 1e9 } ?? 0
      status.isThrottled = oldest?.isThrottled ?? false
      return status
    }
  }
}

/// The store in `millrace stats --json`.
public struct StoreStatus: Sendable, Codable {
  /// Since when requests have been retried and none has succeeded, from 10 s on; 0: the store answers, or nothing is
  /// asked of it.
  public var unreachableSeconds = 0.0
  /// It responds, and asks for fewer requests (429, 503).
  public var isThrottled = false
  /// The last reason for that, perhaps long ago.
  public var lastError: String?

  public init(unreachableSeconds: Double = 0, lastError: String? = nil) {
    self.unreachableSeconds = unreachableSeconds
    self.lastError = lastError
  }
}
