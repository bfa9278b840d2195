import Posix

/// What access orders say of when files are read next, and the policy: together the terms of an eviction.
final class AccessForecast: Sendable {
  private struct Handlers: Sendable {
    /// Of a file, by its hash: see `CacheIndex.Terms`.
    var nextUse: @Sendable (UInt64) -> Int?
    /// The same, once its coming use is over.
    var after: @Sendable (UInt64) -> Int?
  }

  private let policy: EvictionPolicy
  private let handlers = Lock<Handlers?>(nil)

  init(_ policy: EvictionPolicy) { self.policy = policy }

  /// `after`: when a file is read again, once the coming use is over.
  func onNextUse(
    _ handler: @escaping @Sendable (UInt64) -> Int?,
    after: @escaping @Sendable (UInt64) -> Int?
  ) {
    handlers.withLock { $0 = Handlers(nextUse: handler, after: after) }
  }

  /// What a write or a planned fetch goes by: whether the file is worth its place once it was read. Its coming use
  /// is served from memory as well.
  func terms(for id: FileID, deadAfter: Int64) -> CacheIndex.Terms {
    guard let handlers = handlers.withLock({ $0 }) else {
      return CacheIndex.Terms(policy: policy, deadAfter: deadAfter)
    }
    var terms = CacheIndex.Terms(
      policy: policy, deadAfter: deadAfter, nextUse: handlers.nextUse(id.low),
      nextUseOf: { handlers.nextUse($0.low) })
    terms.after = handlers.after(id.low)
    return terms
  }
}
