import Glibc
import ObjectStore
import Posix

/// The system calls of a folder store. Paths are bytes, as the kernel takes them: a name need not
/// be UTF-8.
struct FolderFiles: Sendable {
  /// Absolute, without "/" at its end; empty for "/".
  let base: [UInt8]
  let displayName: String

  func checkBase() throws(StoreError) {
    var status = stat()
    guard stat(path(of: .root), &status) == 0 else {
      throw StoreError(
        .noSuchStore, store: displayName, detail: "cannot open the folder: \(systemMessage(errno))",
        advice: "check the path")
    }
    guard status.st_mode & S_IFMT == S_IFDIR else {
      throw StoreError(.invalidSource, store: displayName, detail: "not a folder")
    }
  }

  func attributes(of key: ObjectKey) throws(StoreError) -> ObjectAttributes {
    try checkName(key, isFolder: false)
    var status = stat()
    guard stat(path(of: key), &status) == 0 else { throw failure(key, errno) }
    guard status.st_mode & S_IFMT == S_IFREG else {
      throw StoreError(.notFound, store: displayName, key: key, detail: "not a file")
    }
    return attributes(of: key, status)
  }

  /// The whole folder as one page, in order of bytes: paging would read it again for each. A folder
  /// that is not there is empty, as in an object store; only the root must be there.
  func page(of folder: ObjectKey) throws(StoreError) -> ListPage {
    var page = ListPage()
    try checkName(folder, isFolder: true)
    guard let directory = opendir(path(of: folder)) else {
      let code = errno
      if folder == .root { try checkBase() }
      if [ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG].contains(code) { return page }
      throw failure(folder, code)
    }
    defer { closedir(directory) }
    page.folderExists = true
    var objects: [ObjectAttributes] = []
    var folders: [ObjectKey] = []
    while true {
      errno = 0
      guard let entry = readdir(directory) else { break }
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) }
      if name == Array(".".utf8) || name == Array("..".utf8) { continue }
      let key = folder + name
      var status = stat()
      // A link that leads nowhere, or gone since.
      guard stat(path(of: key), &status) == 0 else { continue }
      switch status.st_mode & S_IFMT {
      case S_IFDIR: folders.append(key + [UInt8(ascii: "/")])
      case S_IFREG: objects.append(attributes(of: key, status))
      default: break
      }
    }
    if errno != 0 { throw failure(folder, errno) }
    for object in objects.sorted(by: { $0.key < $1.key }) { page.add(object) }
    for folder in folders.sorted() { page.addFolder(folder) }
    return page
  }

  func open(_ key: ObjectKey) throws(StoreError) -> OwnedDescriptor {
    try checkName(key, isFolder: false)
    while true {
      // O_NONBLOCK: a FIFO that took the file's name must not hold the thread.
      let raw = Glibc.open(path(of: key), O_RDONLY | O_CLOEXEC | O_NONBLOCK)
      if raw >= 0 { return OwnedDescriptor(adopting: raw) }
      if errno != EINTR { throw failure(key, errno) }
    }
  }

  func check(_ file: borrowing OwnedDescriptor, is version: ObjectVersion) throws(StoreError) {
    var status = stat()
    guard fstat(file.raw, &status) == 0 else { throw failure(version.key, errno) }
    let isFile = status.st_mode & S_IFMT == S_IFREG
    let found = attributes(of: version.key, status)
    // A manifest need not know what we take for a validator: then size counts, and time if it says one.
    let isSame =
      version.etag.isEmpty
      ? found.size == version.size && (version.modified == 0 || found.modified == version.modified)
      : found.version == version
    if !isFile || !isSame { throw changed(version.key) }
  }

  func changed(_ key: ObjectKey) -> StoreError {
    StoreError(.changed, store: displayName, key: key, detail: "the file was changed")
  }

  func failure(_ key: ObjectKey, _ code: CInt) -> StoreError {
    let (kind, advice): (StoreError.Kind, String) =
      switch code {
      case ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG: (.notFound, "")
      case EACCES, EPERM: (.accessDenied, "check that the mounting user may read it")
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
        .notFound, store: displayName, key: key, detail: "no file of a folder can have this name")
    }
  }

  /// With the NUL that C wants.
  private func path(of key: ObjectKey) -> [CChar] {
    // "/f/" of a file f would be "not a directory" instead of a file.
    let slash: [UInt8] = key == .root && !base.isEmpty ? [] : [UInt8(ascii: "/")]
    return (base + slash + key.bytes + [0]).map { CChar(bitPattern: $0) }
  }

  private func attributes(of key: ObjectKey, _ status: stat) -> ObjectAttributes {
    ObjectAttributes(
      key: key, size: UInt64(status.st_size), modified: Int64(status.st_mtim.tv_sec),
      etag: "\(status.st_ino)-\(status.st_mtim.tv_sec).\(status.st_mtim.tv_nsec)-\(status.st_size)")
  }
}

private func systemMessage(_ code: CInt) -> String { String(cString: strerror(code)) }
