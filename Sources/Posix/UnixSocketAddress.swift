public import Glibc
public import SystemPackage

/// The address of a unix socket.
public struct UnixSocketAddress: Sendable {
  private var raw = sockaddr_un()
  private let size: socklen_t

  /// `name`: a path of at most 107 bytes, or a null byte and an abstract name of at most 107. Throws ENAMETOOLONG.
  public init(_ name: some Collection<UInt8>) throws(Errno) {
    guard name.count < MemoryLayout.size(ofValue: raw.sun_path) else { throw .fileNameTooLong }
    raw.sun_family = sa_family_t(AF_UNIX)
    // An abstract name ends where the address does. The null byte after a path belongs to it.
    let end = name.first == 0 ? 0 : 1
    size = socklen_t(MemoryLayout<sa_family_t>.size + name.count + end)
    withUnsafeMutableBytes(of: &raw.sun_path) { $0.copyBytes(from: name) }
  }

  /// For bind(2), connect(2) and sendto(2).
  public func withPointer<Result>(
    _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
  ) -> Result {
    withUnsafePointer(to: raw) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, size) }
    }
  }
}
