import Posix

/// The strong ETag that the first reply of an open version had, where the listing did not say one: it binds every
/// later reply, of whichever fetch.
public final class LearntETag: Sendable {
  private let first = Lock<String?>(nil)

  public init() {}

  /// `nil` until a reply had one.
  public var value: String? { first.withLock { $0 } }

  /// Keeps `etag` if it is the first. Returns the one that is kept.
  public func keep(_ etag: String) -> String {
    first.withLock { first in
      let kept = first ?? etag
      first = kept
      return kept
    }
  }
}
