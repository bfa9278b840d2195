public import Glibc
public import Metrics
public import SystemPackage

/// The answer to one read.
public enum ReadReply {
  /// The bytes, in pieces, in order. The memory is valid only during the call that hands it over.
  /// Shorter than asked only at the end of the object.
  case data(UnsafeBufferPointer<iovec>)
  /// ESTALE: the object changed. EIO: it cannot be had; the log says why.
  case failure(Errno)

  public var error: Errno? {
    if case .failure(let error) = self { error } else { nil }
  }
}

/// A read that waits for the store. Made only when bytes are missing.
public protocol ParkedRead: AnyObject, Sendable {
  /// Called exactly once, from any thread, with no lock held. `wait`: what it waited for.
  func complete(_ reply: ReadReply, _ wait: ReadWait)
}
