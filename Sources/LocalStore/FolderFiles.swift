import Glibc
import ObjectStore
import Posix
import SystemPackage

/// The files of a folder store. Paths are bytes, as the kernel takes them: a name need not be UTF-8.
struct FolderFiles: Sendable {
  let root: FolderRoot
  let displayName: String
  /// Validators end in `AccessRights`, and what a link shows must be open to all on its own way.
  let showsRights: Bool
  /// Called for a link that leads out of the folder.
  let onLinkOut: @Sendable (ObjectKey) -> Void

  /// `base`: absolute, without "/" at its end; empty for "/".
  init(
    base: [UInt8], displayName: String, followsLinks: Bool, showsRights: Bool,
    onLinkOut: @escaping @Sendable (ObjectKey) -> Void
  ) throws(StoreError) {
    self.displayName = displayName
    self.showsRights = showsRights
    self.onLinkOut = onLinkOut
    do throws(Errno) { root = try FolderRoot(base, followsLinks: followsLinks) } catch {
      switch error {
      case .notDirectory:
        throw StoreError(.invalidSource, store: displayName, detail: "not a directory")
      case .noFunction:
        throw StoreError(
          .unsupported, store: displayName,
          detail:
            "this kernel (before 5.6) or container has no openat2, which confines links to the directory",
          advice:
            "use --follow-links if every user who can write to the directory may read what this user can read"
        )
      default:
        throw StoreError(
          .noSuchStore, store: displayName, detail: "cannot open the directory: \(error)",
          advice: "check the path")
      }
    }
  }

  private func checkBase() throws(StoreError) {
    if root.status != nil { return }
    throw StoreError(
      .noSuchStore, store: displayName, detail: "the directory was removed or replaced",
      advice: "mount it again")
  }

  /// Of the folder itself.
  var rights: AccessRights? {
    guard showsRights, let status = root.status, let folder = try? root.open([], O_RDONLY) else {
      return nil
    }
    return FolderRoot.rights(status, folder.raw)
  }

  func attributes(of key: ObjectKey) throws(StoreError) -> ObjectAttributes {
    try checkName(key, isFolder: false)
    let file = try open(key, openPathOnly)
    var status = stat()
    guard fstat(file.raw, &status) == 0 else { throw failure(key, errno) }
    guard status.st_mode & S_IFMT == S_IFREG, isShown(file, at: key.bytes) else {
      throw StoreError(.notFound, store: displayName, key: key, detail: "not a file")
    }
    return attributes(
      of: key, status, showsRights ? FolderRoot.rights(status, file.raw) : nil)
  }

  /// The whole folder as one page, in order of bytes: paging would read it again for each. A folder
  /// that is not there is empty, as in an object store; only the root must be there.
  func page(of folder: ObjectKey) throws(StoreError) -> ListPage {
    var page = ListPage()
    try checkName(folder, isFolder: true)
    if folder == .root { try checkBase() }
    let place = Array(folder == .root ? [] : folder.bytes.dropLast())
    let parent: OwnedDescriptor
    do throws(Errno) { parent = try root.open(place, O_RDONLY | O_DIRECTORY) } catch {
      if [ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG, EXDEV].contains(error.rawValue) { return page }
      throw failure(folder, error.rawValue)
    }
    guard isShown(parent, at: place) else { return page }
    page.folderExists = true
    if showsRights {
      var status = stat()
      guard fstat(parent.raw, &status) == 0 else { throw failure(folder, errno) }
      page.folderETag = FolderRoot.rights(status, parent.raw).suffix
    }
    let (objects, folders) = try entries(of: folder, parent)
    for object in objects.sorted(by: { $0.key < $1.key }) { page.add(object) }
    for (folder, etag) in folders.sorted(by: { $0.0 < $1.0 }) { page.addFolder(folder, etag: etag) }
    return page
  }

  private func entries(
    of folder: ObjectKey, _ parent: borrowing OwnedDescriptor
  ) throws(StoreError) -> ([ObjectAttributes], [(ObjectKey, etag: String)]) {
    var objects: [ObjectAttributes] = []
    var folders: [(ObjectKey, etag: String)] = []
    let copy = fcntl(parent.raw, F_DUPFD_CLOEXEC, 0)
    guard copy >= 0, let directory = fdopendir(copy) else {
      let code = errno
      if copy >= 0 { close(copy) }
      throw failure(folder, code)
    }
    defer { closedir(directory) }
    while true {
      errno = 0
      guard let entry = readdir(directory) else { break }
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) }
      if name == Array(".".utf8) || name == Array("..".utf8) { continue }
      let key = folder + name
      guard let (status, rights) = look(at: key, name, in: parent) else { continue }
      switch status.st_mode & S_IFMT {
      case S_IFDIR: folders.append((key + [UInt8(ascii: "/")], rights?.suffix ?? ""))
      case S_IFREG: objects.append(attributes(of: key, status, rights))
      default: break
      }
    }
    if errno != 0 { throw failure(folder, errno) }
    return (objects, folders)
  }

  /// nil: gone since, or a link that leads nowhere, out, or where not all may go.
  private func look(
    at key: ObjectKey, _ name: [UInt8], in parent: borrowing OwnedDescriptor
  ) -> (stat, AccessRights?)? {
    var status = stat()
    let place = (name + [0]).map { CChar(bitPattern: $0) }
    guard fstatat(parent.raw, place, &status, AT_SYMLINK_NOFOLLOW) == 0 else { return nil }
    if status.st_mode & S_IFMT != S_IFLNK {
      return (status, showsRights ? FolderRoot.rights(status, parent.raw, name) : nil)
    }
    let target: OwnedDescriptor
    do throws(Errno) { target = try root.open(key.bytes, openPathOnly) } catch {
      if error.rawValue == EXDEV { onLinkOut(key) }
      return nil
    }
    guard fstat(target.raw, &status) == 0, isShown(target, at: key.bytes) else { return nil }
    return (status, showsRights ? FolderRoot.rights(status, target.raw) : nil)
  }

  private func isShown(_ file: borrowing OwnedDescriptor, at path: [UInt8]) -> Bool {
    !showsRights || root.isReachedByAll(file, at: path)
  }

  /// For reading.
  func open(_ key: ObjectKey) throws(StoreError) -> OwnedDescriptor {
    try checkName(key, isFolder: false)
    // O_NONBLOCK: a FIFO that took the file's name must not hold the thread.
    let file = try open(key, O_RDONLY | O_NONBLOCK)
    guard isShown(file, at: key.bytes) else {
      throw StoreError(.notFound, store: displayName, key: key, detail: "not a file")
    }
    return file
  }

  private func open(_ key: ObjectKey, _ flags: CInt) throws(StoreError) -> OwnedDescriptor {
    do throws(Errno) { return try root.open(key.bytes, flags) } catch {
      throw failure(key, error.rawValue)
    }
  }

  func check(_ file: borrowing OwnedDescriptor, is version: ObjectVersion) throws(StoreError) {
    var status = stat()
    guard fstat(file.raw, &status) == 0 else { throw failure(version.key, errno) }
    let isFile = status.st_mode & S_IFMT == S_IFREG
    let found = attributes(of: version.key, status, nil)
    // A manifest need not know what we take for a validator: then size counts, and time if it says one.
    let isSame =
      version.etag.isEmpty
      ? found.size == version.size && (version.modified == 0 || found.modified == version.modified)
      : found.size == version.size && found.etag == AccessRights.stripped(version.etag)
    if !isFile || !isSame { throw changed(version.key) }
  }

  func changed(_ key: ObjectKey) -> StoreError {
    StoreError(.changed, store: displayName, key: key, detail: "the file changed")
  }

  func failure(_ key: ObjectKey, _ code: CInt) -> StoreError {
    let (kind, advice): (StoreError.Kind, String) =
      switch code {
      case ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG: (.notFound, "")
      case EXDEV: (.notFound, "a link leads out of the directory; see --follow-links")
      case EACCES, EPERM: (.accessDenied, "check that the mounting user can read it")
      // NFS: the server replaced the file.
      case ESTALE: (.changed, "")
      default: (.serverFailure, "")
      }
    return StoreError(
      kind, store: displayName, key: key, detail: systemMessage(code), advice: advice)
  }

  /// Refuses what leads elsewhere ("..", a leading "/") or twice to the same file ("a//b", "./a").
  private func checkName(_ key: ObjectKey, isFolder: Bool) throws(StoreError) {
    var name = key.bytes[...]
    if isFolder {
      if name.isEmpty { return }
      if name.last == UInt8(ascii: "/") { name.removeLast() }
    }
    let segments = name.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
    for segment in segments
    where segment.isEmpty || segment == [46] || segment == [46, 46] || segment.contains(0) {
      throw StoreError(
        .notFound, store: displayName, key: key, detail: "not a valid file name")
    }
  }

  private func attributes(
    of key: ObjectKey, _ status: stat, _ rights: AccessRights?
  ) -> ObjectAttributes {
    ObjectAttributes(
      key: key, size: UInt64(status.st_size), modified: Int64(status.st_mtim.tv_sec),
      etag: "\(status.st_ino)-\(status.st_mtim.tv_sec).\(status.st_mtim.tv_nsec)-\(status.st_size)"
        + (rights?.suffix ?? ""))
  }
}

private func systemMessage(_ code: CInt) -> String { String(cString: strerror(code)) }
