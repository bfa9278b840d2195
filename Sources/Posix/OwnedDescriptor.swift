public import Glibc
public import SystemPackage

/// A file descriptor that is closed once, when it goes out of scope.
public struct OwnedDescriptor: ~Copyable, Sendable {
  public let raw: CInt

  public init(adopting raw: CInt) { self.raw = raw }

  deinit { close(raw) }

  /// open(2) with O_CLOEXEC added.
  public static func open(
    _ path: String, _ flags: CInt, mode: mode_t = 0o600
  ) throws(Errno) -> OwnedDescriptor {
    while true {
      let raw = Glibc.open(path, flags | O_CLOEXEC, mode)
      if raw >= 0 { return OwnedDescriptor(adopting: raw) }
      if errno != EINTR { throw Errno(rawValue: errno) }
    }
  }

  /// Gives the descriptor away: the caller closes it.
  public consuming func release() -> CInt {
    let raw = raw
    discard self
    return raw
  }
}

extension Errno {
  /// The errno that the last C call of this thread left.
  public static var last: Errno { Errno(rawValue: errno) }
}

/// O_PATH, which Swift's Glibc lacks: a descriptor of a place, for which no right to read it is needed.
public let openPathOnly: CInt = 0o10_000_000
