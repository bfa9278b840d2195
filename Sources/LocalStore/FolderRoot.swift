import CEngineShim
import Glibc
import ObjectStore
import Posix
import SystemPackage

/// The folder of a folder store, opened once: everything below is resolved from its descriptor by the kernel, and no
/// link leads out of it unless links are to be followed.
///
/// Paths are bytes, relative and without NUL; empty for the folder itself.
final class FolderRoot: Sendable {
  private let base: OwnedDescriptor
  private let followsLinks: Bool

  private static let noMagic = UInt64(MILLRACE_RESOLVE_NO_MAGICLINKS)
  private static let beneath = UInt64(MILLRACE_RESOLVE_BENEATH) | noMagic
  private static let noLinks = UInt64(MILLRACE_RESOLVE_NO_SYMLINKS) | beneath

  /// `noFunction`: the kernel has no openat2 (before 5.6), or the container forbids it; only with `followsLinks`
  /// can that be done without.
  init(_ path: [UInt8], followsLinks: Bool) throws(Errno) {
    self.followsLinks = followsLinks
    let raw = (path.isEmpty ? [UInt8(ascii: "/")] : path).withPath {
      Glibc.open($0, openPathOnly | O_DIRECTORY | O_CLOEXEC)
    }
    guard raw >= 0 else { throw .last }
    base = OwnedDescriptor(adopting: raw)
    do throws(Errno) { _ = try open([], openPathOnly) } catch {
      throw error == .notPermitted ? .noFunction : error
    }
  }

  /// The folder itself; nil where it is gone.
  var status: stat? {
    var status = Glibc.stat()
    return fstat(base.raw, &status) == 0 && status.st_nlink > 0 ? status : nil
  }

  /// `improperLink`: a link leads out of the folder.
  func open(_ path: [UInt8], _ flags: CInt) throws(Errno) -> OwnedDescriptor {
    if followsLinks {
      do throws(Errno) { return try resolve(path, flags, Self.noMagic) } catch {
        guard error == .noFunction else { throw error }
        let raw = (path.isEmpty ? [UInt8(ascii: ".")] : path).withPath {
          openat(base.raw, $0, flags | O_CLOEXEC)
        }
        guard raw >= 0 else { throw .last }
        return OwnedDescriptor(adopting: raw)
      }
    }
    do throws(Errno) { return try resolve(path, flags, Self.beneath) } catch {
      guard error == .improperLink else { throw error }
      // Absolute, or out and in again: where it ends counts. Only the name is taken from there; the file is opened
      // by it below the folder, through no link at all.
      let target = try resolve(path, openPathOnly, Self.noMagic)
      guard let inner = innerPath(of: target) else { throw .improperLink }
      return try resolve(inner, flags, Self.noLinks)
    }
  }

  private func resolve(
    _ path: [UInt8], _ flags: CInt, _ rule: UInt64
  ) throws(Errno) -> OwnedDescriptor {
    // EAGAIN: something was renamed meanwhile, so that the kernel could not be sure.
    for _ in 0..<64 {
      let raw = (path.isEmpty ? [UInt8(ascii: ".")] : path).withPath {
        millrace_openat2(base.raw, $0, flags, rule)
      }
      if raw >= 0 { return OwnedDescriptor(adopting: raw) }
      if errno != EINTR && errno != EAGAIN { throw .last }
    }
    throw .resourceTemporarilyUnavailable
  }

  /// Where an open file lies below the folder now, without links; nil: it does not.
  private func innerPath(of file: borrowing OwnedDescriptor) -> [UInt8]? {
    guard let root = Self.path(of: base.raw), let path = Self.path(of: file.raw) else { return nil }
    if path == root { return [] }
    let start = root == [UInt8(ascii: "/")] ? root : root + [UInt8(ascii: "/")]
    return path.starts(with: start) ? Array(path.dropFirst(start.count)) : nil
  }

  private static func path(of descriptor: CInt) -> [UInt8]? {
    var buffer = [UInt8](repeating: 0, count: Int(PATH_MAX))
    let count = buffer.withUnsafeMutableBytes {
      readlink(
        "/proc/self/fd/\(descriptor)", $0.baseAddress!.assumingMemoryBound(to: CChar.self), $0.count
      )
    }
    return count > 0 && count < buffer.count ? Array(buffer[..<count]) : nil
  }

  // MARK: Rights

  /// Whether every reader that may enter the path's directories can reach a file under this path. Through a link,
  /// the file can lie in a directory that a reader could not enter there. Then every directory on the file's own
  /// path must be open to all.
  func isReachedByAll(_ file: borrowing OwnedDescriptor, at path: [UInt8]) -> Bool {
    if followsLinks { return true }
    guard let inner = innerPath(of: file) else { return false }
    if inner == path { return true }
    var end = 0
    while let slash = inner[end...].firstIndex(of: UInt8(ascii: "/")) {
      guard let folder = try? resolve(Array(inner[..<slash]), openPathOnly, Self.noLinks) else {
        return false
      }
      var status = Glibc.stat()
      guard fstat(folder.raw, &status) == 0, status.st_mode & S_IXOTH != 0,
        !Self.hasAccessList("/proc/self/fd/\(folder.raw)")
      else { return false }
      end = slash + 1
    }
    return true
  }

  /// Owner and permissions of a file as they can be shown: one with an access list may be closed to some whom its
  /// bits let in, so that only the owner's bits are.
  static func rights(_ status: stat, _ descriptor: CInt, _ name: [UInt8] = []) -> AccessRights {
    var mode = status.st_mode
    let place = Array("/proc/self/fd/\(descriptor)".utf8)
    let hasList =
      name.isEmpty
      ? hasAccessList("/proc/self/fd/\(descriptor)")
      : (place + [UInt8(ascii: "/")] + name).withPath { lists(lgetxattr($0, listName, nil, 0)) }
    if hasList { mode &= 0o700 }
    return AccessRights(owner: status.st_uid, group: status.st_gid, mode: mode)
  }

  private static let listName = "system.posix_acl_access"

  private static func hasAccessList(_ path: String) -> Bool {
    lists(getxattr(path, listName, nil, 0))
  }

  private static func lists(_ size: Int) -> Bool {
    size >= 0 || (errno != ENODATA && errno != EOPNOTSUPP)
  }
}

extension [UInt8] {
  /// With the NUL that C wants.
  fileprivate func withPath<Result>(_ body: (UnsafePointer<CChar>) -> Result) -> Result {
    (self + [0]).withUnsafeBufferPointer { bytes in
      bytes.withMemoryRebound(to: CChar.self) { body($0.baseAddress!) }
    }
  }
}
