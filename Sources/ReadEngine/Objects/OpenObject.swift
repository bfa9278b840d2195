public import ObjectStore
import Posix
import Synchronization

/// One open of one version. The front end keeps it retained in `fi->fh` from OPEN to RELEASE.
public final class OpenObject: Sendable {
  private let object: CachedObject
  /// By a reader.
  private let isUse: Bool
  private let isClosed = Atomic(false)

  init(_ object: CachedObject, isUse: Bool = false) {
    self.object = object
    self.isUse = isUse
  }

  deinit { close() }

  public var version: ObjectVersion { object.version }

  /// Evenly spread; the same for the same version, in every mount of the store.
  public var hash: UInt64 { object.id.low }

  /// Reads `count` bytes at `offset`; less at the end of the object, nothing after it.
  ///
  /// If the bytes are in memory or in the page cache, `reply` is called before this returns, on this
  /// thread, with `scratch` (at least `count` bytes, the caller's own) as the place for what comes
  /// from disk. If they are not, `park` makes the request that is completed later, usually from
  /// another thread. Exactly one of the two is called.
  public func read(
    at offset: UInt64, count: Int, scratch: UnsafeMutableRawBufferPointer,
    reply: (ReadReply) -> Void, park: () -> any ParkedRead
  ) {
    let size = object.version.size
    let end = min(size, offset.addingSaturated(UInt64(count)))
    guard offset < end else { return reply(.data(UnsafeBufferPointer(start: nil, count: 0))) }
    ImmediateRead(object: object).read(offset..<end, scratch: scratch, reply: reply, park: park)
  }

  /// The cache file, if all of the object is there and trusted: for the kernel to read by itself. It
  /// stays open as long as this open does.
  public var wholeFile: CInt? {
    let descriptor = object.wholeDescriptor.load(ordering: .acquiring)
    return descriptor >= 0 ? descriptor : nil
  }

  /// Another open of the same version, closed by itself.
  public func openAgain() -> OpenObject { OpenObject(object.services.open(object.version)) }

  /// Where the bytes are now, for `user.millrace.state`.
  public var residence: Residence { object.copyOnDisk.residence }

  /// Ends this open. Reads of it that are parked are still completed.
  public func close() {
    guard !isClosed.exchange(true, ordering: .relaxed) else { return }
    object.services.close(object, isUse: isUse)
  }
}

/// How much of a version is on this node.
public enum Residence: String, Sendable {
  case store
  case memory
  case disk
  case partial
}
