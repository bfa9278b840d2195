/// What fill came to.
public struct FillReport: Sendable, Codable {
  /// `--fill`.
  public var policy: String
  /// Bytes filled for each that readers were given, at most; `auto` alone.
  public var multiple: Double?
  public var filledBytes: UInt64
  /// What readers were given.
  public var askedBytes: UInt64

  public init(policy: String, multiple: Double?, filledBytes: UInt64, askedBytes: UInt64) {
    self.policy = policy
    self.multiple = multiple
    self.filledBytes = filledBytes
    self.askedBytes = askedBytes
  }
}
