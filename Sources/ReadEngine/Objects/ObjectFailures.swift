import Posix
import SystemPackage

/// What went wrong with an object at the store, as far as later reads are concerned.
struct ObjectFailures {
  /// The store has another version by now: what is not here yet can never be had.
  private(set) var isStale = false
  /// A reply showed another content; not only that the object is missing.
  private var isStaleByChange = false
  private var last: Failure?

  private struct Failure {
    var bytes: Range<UInt64>
    var errno: Errno
    var until: Instant
  }

  /// How long a failure answers for its range: the kernel's second try comes at once.
  private static let memory = Duration.seconds(1)

  /// A fetch failed, of which `missing` had not come. True if the version is stale now and was not before.
  mutating func record(
    _ failure: FetchFailure, missing: Range<UInt64>, at now: Instant
  ) -> Bool {
    if failure.errno == .staleNFSFileHandle {
      defer { isStale = true }
      if failure.isChange { isStaleByChange = true }
      return !isStale
    }
    last = Failure(bytes: missing, errno: failure.errno, until: now + Self.memory)
    return false
  }

  /// The path has this version again, or still: the store has said so. `isNameless`: another content may have the
  /// same size and time, and was seen.
  mutating func confirmed(isNameless: Bool) {
    if isStaleByChange, isNameless { return }
    isStale = false
  }

  /// What a read of bytes that are not here fails with at once, if it does.
  func errno(of bytes: Range<UInt64>, at now: Instant) -> Errno? {
    if isStale { return .staleNFSFileHandle }
    guard let last, last.until > now, last.bytes.overlaps(bytes) else { return nil }
    return last.errno
  }
}
