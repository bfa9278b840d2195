public import ObjectStore

/// One open of one version. The front end keeps it retained in `fi->fh` from OPEN to RELEASE.
public final class OpenObject: Sendable {
  public var version: ObjectVersion { fatalError("not built yet") }

  /// Reads `count` bytes at `offset`.
  ///
  /// If the bytes are in memory or on disk, `reply` is called before this returns, on this thread,
  /// with `scratch` (at least `count` bytes, the caller's own) as the place for what comes from
  /// disk. If they are not, `park` makes the request that will be completed later, from another
  /// thread. Exactly one of the two is called.
  public func read(
    at offset: UInt64, count: Int, scratch: UnsafeMutableRawBufferPointer,
    reply: (ReadReply) -> Void, park: () -> any ParkedRead
  ) { fatalError("not built yet") }

  /// Ends this open. Reads of it that are parked are still completed.
  public func close() {}
}
