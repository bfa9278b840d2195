/// Background prefetch: what it fetched, and its budget.
public struct FillReport: Sendable, Codable {
  /// `--prefetch`.
  public var policy: String
  /// Bytes prefetched for each byte that readers requested, at most; `auto` alone.
  public var budget: Double?
  public var backgroundBytes: UInt64
  /// Bytes that readers requested.
  public var requestedBytes: UInt64

  public init(policy: String, budget: Double?, backgroundBytes: UInt64, requestedBytes: UInt64) {
    self.policy = policy
    self.budget = budget
    self.backgroundBytes = backgroundBytes
    self.requestedBytes = requestedBytes
  }
}
