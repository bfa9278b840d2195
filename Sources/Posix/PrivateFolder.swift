public import Glibc
public import SystemPackage

/// A folder that only this user may change, held open by its descriptor.
///
/// What lies in it is reached from the descriptor, never by path: a folder that is put in its place later
/// changes nothing. A file found in it counts only if it is an ordinary file of this user with one name; a
/// link, a file of another user or one with a second name elsewhere is removed and reported as absent.
/// Names are relative and may go through sub-folders, which must be checked once (`isPrivate`).
public final class PrivateFolder: Sendable {
  public enum Problem: Error, Equatable, CustomStringConvertible {
    case system(path: String, Errno)
    case untrusted(path: String, FolderTrust.Flaw)

    public var description: String {
      switch self {
      case .system(let path, let reason): "\(path): \(reason)"
      case .untrusted(let path, .foreignOwner(let owner)):
        "\(path) belongs to uid \(owner), which could replace its content"
      case .untrusted(let path, .writableByOthers):
        "\(path) is writable by other users, which could replace its content; "
          + "run: chmod go-w \(path)"
      }
    }
  }

  public let raw: CInt
  /// Where it was when it was opened, for messages.
  public let path: String

  private init(_ descriptor: consuming OwnedDescriptor, path: String) {
    raw = descriptor.release()
    self.path = path
  }

  deinit { close(raw) }

  // MARK: Opening

  /// Opens the folder at `path`, made with mode 0700 where there is none. Each parent must belong to root or
  /// this user and be closed to other writers or sticky; the folder itself must be this user's. Write permission that
  /// others have on it is taken away.
  public static func open(_ path: String) throws(Problem) -> PrivateFolder {
    if let code = make(path) { throw .system(path: path, code) }
    guard let real = realpath(path, nil) else { throw .system(path: path, .last) }
    defer { free(real) }
    let resolved = String(cString: real)
    let parts = resolved.split(separator: "/")
    var place = "/"
    // Each step from a descriptor: a parent that is exchanged during the walk cannot lead elsewhere.
    var folder = try descend(AT_FDCWD, "/", at: place, isLast: parts.isEmpty)
    for (index, part) in parts.enumerated() {
      place += (index == 0 ? "" : "/") + part
      folder = try descend(
        folder.raw, String(part), at: place, isLast: index == parts.count - 1)
    }
    return PrivateFolder(folder, path: resolved)
  }

  /// The sub-folder of this name, made with mode 0700 where there is none; never through a link.
  public func folder(_ name: String) throws(Problem) -> PrivateFolder {
    let place = "\(path)/\(name)"
    if mkdirat(raw, name, 0o700) != 0, errno != EEXIST { throw .system(path: place, .last) }
    let folder = try Self.openFolder(raw, name, O_RDONLY, at: place)
    if let flaw = FolderTrust(Self.status(folder.raw)).flawAsPrivate(to: geteuid()) {
      throw .untrusted(path: place, flaw)
    }
    return PrivateFolder(folder, path: place)
  }

  private static func descend(
    _ parent: CInt, _ name: String, at place: String, isLast: Bool
  ) throws(Problem) -> OwnedDescriptor {
    let folder = try openFolder(parent, name, isLast ? O_RDONLY : openPathOnly, at: place)
    let status = status(folder.raw)
    let trust = FolderTrust(status)
    let flaw =
      isLast
      ? trust.flawAsPrivate(to: geteuid())
      : trust.flawAsParent(of: geteuid(), unmapped: FolderTrust.unmappedOwner)
    guard let flaw else { return folder }
    if isLast, flaw == .writableByOthers, fchmod(folder.raw, status.st_mode & 0o7755) == 0 {
      return folder
    }
    throw .untrusted(path: place, flaw)
  }

  private static func openFolder(
    _ parent: CInt, _ name: String, _ flags: CInt, at place: String
  ) throws(Problem) -> OwnedDescriptor {
    while true {
      let raw = openat(parent, name, flags | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
      if raw >= 0 { return OwnedDescriptor(adopting: raw) }
      if errno != EINTR { throw .system(path: place, .last) }
    }
  }

  /// mkdir -p with mode 0700.
  private static func make(_ path: String) -> Errno? {
    if mkdir(path, 0o700) == 0 || errno == EEXIST { return nil }
    var trimmed = path[...]
    while trimmed.count > 1, trimmed.hasSuffix("/") { trimmed.removeLast() }
    guard errno == ENOENT, let slash = trimmed.lastIndex(of: "/"), slash != trimmed.startIndex
    else { return .last }
    if let code = make(String(trimmed[..<slash])) { return code }
    return mkdir(path, 0o700) == 0 || errno == EEXIST ? nil : .last
  }

  private static func status(_ descriptor: CInt) -> stat {
    var status = Glibc.stat()
    fstat(descriptor, &status)
    return status
  }
}

// MARK: Files

extension PrivateFolder {
  /// Opens a file that is there. `noSuchFileOrDirectory`: there is none that may be trusted.
  public func open(_ name: String, _ flags: CInt) throws(Errno) -> OwnedDescriptor {
    // A FIFO in the file's place must not hold the thread.
    let patience = flags & O_ACCMODE == O_RDONLY ? O_NONBLOCK : 0
    let file: OwnedDescriptor
    do throws(Errno) {
      file = try openFile(name, flags | patience)
    } catch {
      guard [.tooManySymbolicLinkLevels, .isDirectory, .noSuchAddressOrDevice].contains(error)
      else { throw error }
      remove(name)
      throw .noSuchFileOrDirectory
    }
    let status = Self.status(file.raw)
    if status.st_mode & S_IFMT == S_IFREG, status.st_uid == geteuid(), status.st_nlink == 1 {
      return file
    }
    // Without a name it was removed a moment ago, and the name may be a new file's.
    if status.st_nlink > 0 { remove(name) }
    throw .noSuchFileOrDirectory
  }

  /// Makes a new file (0600) in the place of what has the name; that is never written to or truncated.
  public func create(_ name: String, _ flags: CInt = O_RDWR) throws(Errno) -> OwnedDescriptor {
    remove(name)
    return try openFile(name, flags | O_CREAT | O_EXCL)
  }

  /// Opens a file, made (0600) where there is none that may be trusted.
  public func openOrCreate(_ name: String) throws(Errno) -> OwnedDescriptor {
    var attempts = 0
    while true {
      do throws(Errno) { return try open(name, O_RDWR) } catch {
        if error != .noSuchFileOrDirectory { throw error }
      }
      do throws(Errno) { return try openFile(name, O_RDWR | O_CREAT | O_EXCL) } catch {
        // Another process made it in between.
        attempts += 1
        if error != .fileExists || attempts == 4 { throw error }
      }
    }
  }

  private func openFile(_ name: String, _ flags: CInt) throws(Errno) -> OwnedDescriptor {
    while true {
      let file = openat(raw, name, flags | O_NOFOLLOW | O_CLOEXEC, 0o600)
      if file >= 0 { return OwnedDescriptor(adopting: file) }
      if errno != EINTR { throw .last }
    }
  }

  /// The whole of a small file; nil where there is none that may be trusted, or it is larger than `limit` bytes.
  public func read(_ name: String, limit: Int) -> [UInt8]? {
    guard let file = try? open(name, O_RDONLY) else { return nil }
    var bytes: [UInt8] = []
    var piece = [UInt8](repeating: 0, count: min(limit + 1, 64 << 10))
    while bytes.count <= limit {
      let count = Glibc.read(file.raw, &piece, piece.count)
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { return count == 0 ? bytes : nil }
      bytes += piece[..<count]
    }
    return nil
  }

  /// Removes a file, or a folder that is empty. False: it could not be, errno says why.
  @discardableResult
  public func remove(_ name: String) -> Bool {
    if unlinkat(raw, name, 0) == 0 { return true }
    return errno == EISDIR && unlinkat(raw, name, AT_REMOVEDIR) == 0
  }

  /// In one step: there is the old file or the new one.
  public func rename(_ old: String, to new: String) throws(Errno) {
    guard renameat(raw, old, raw, new) == 0 else { throw .last }
  }

  // MARK: Looking

  /// lstat(2); nil with errno set.
  public func status(of name: String) -> stat? {
    var status = Glibc.stat()
    return fstatat(raw, name, &status, AT_SYMLINK_NOFOLLOW) == 0 ? status : nil
  }

  /// Makes a sub-folder (0700) where there is none.
  public func makeFolder(_ name: String) throws(Errno) {
    if mkdirat(raw, name, 0o700) != 0, errno != EEXIST { throw .last }
  }

  /// A sub-folder, not a link, that only this user may change; or nothing of the name is there.
  public func isPrivate(_ name: String) -> Bool {
    guard let status = status(of: name) else { return errno == ENOENT }
    return status.st_mode & S_IFMT == S_IFDIR
      && FolderTrust(status).flawAsPrivate(to: geteuid()) == nil
  }

  /// Names in a sub-folder ("." for this one) without "." and ".."; none if it cannot be read.
  public func names(in name: String) -> [String] {
    let copy = openat(raw, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
    guard copy >= 0 else { return [] }
    guard let directory = fdopendir(copy) else {
      close(copy)
      return []
    }
    return directoryNames(closing: directory)
  }
}
