import Glibc
public import Metrics
/// A local or network folder as a store: `file:///DIR`.
///
/// The validator of a file is its inode, size and modification time in nanoseconds, checked before
/// and after every fetch.
public import ObjectStore
public import Posix
import Synchronization

public final class FolderStore: ObjectStore {
  public let displayName: String
  public let identity: String
  public let traits = StoreTraits(preferredRange: 4 << 20, maxConcurrentFetches: 8)

  private let base: String
  private let workers = WorkerPool(named: "folder", threads: 4)
  private let metrics: StoreMetrics

  /// `folder`: an absolute path without "/" at its end.
  public init(folder: String, metrics: StoreMetrics) throws(StoreError) {
    base = folder
    displayName = "file://\(folder)"
    identity = displayName
    self.metrics = metrics
    var status = stat()
    guard stat(folder, &status) == 0 else {
      throw StoreError(
        .noSuchStore, store: displayName, detail: "cannot open the folder: \(systemMessage())")
    }
    guard status.st_mode & S_IFMT == S_IFDIR else {
      throw StoreError(.invalidSource, store: displayName, detail: "not a folder")
    }
  }

  public func list(
    _ request: ListRequest, completion: @escaping @Sendable (Result<ListPage, StoreError>) -> Void
  ) {
    metrics.listRequests.add()
    run(
      key: request.folder, completion, body: { store throws(StoreError) in try store.page(request) }
    )
  }

  public func head(
    _ key: ObjectKey, deadline: Instant,
    completion: @escaping @Sendable (Result<ObjectAttributes, StoreError>) -> Void
  ) {
    metrics.headRequests.add()
    run(key: key, completion, body: { store throws(StoreError) in try store.status(of: key) })
  }

  private func status(of key: ObjectKey) throws(StoreError) -> ObjectAttributes {
    var status = stat()
    errno = 0
    guard stat(path(of: key), &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
      throw failure(key)
    }
    return attributes(of: key, status)
  }

  @discardableResult
  public func fetch(_ request: FetchRequest, into sink: any FetchSink) -> any FetchTicket {
    metrics.getRequests.add()
    let ticket = FolderTicket()
    run(key: request.version.key) {
      sink.finish($0)
    } body: { store throws(StoreError) in
      try store.read(request, into: sink, ticket)
    }
    return ticket
  }

  public func shutdown() { workers.shutdown() }

  private func run<Value>(
    key: ObjectKey, _ completion: @escaping @Sendable (Result<Value, StoreError>) -> Void,
    body: @escaping @Sendable (FolderStore) throws(StoreError) -> Value
  ) {
    let taken = workers.submit { [self] in
      let result: Result<Value, StoreError>
      do throws(StoreError) { result = .success(try body(self)) } catch { result = .failure(error) }
      if case .failure = result { metrics.errors.add() }
      completion(result)
    }
    if !taken {
      completion(
        .failure(StoreError(.cancelled, store: displayName, key: key, detail: "shutting down")))
    }
  }

  private func path(of key: ObjectKey) -> String {
    base + "/" + String(decoding: key.bytes, as: UTF8.self)
  }

  private func attributes(of key: ObjectKey, _ status: stat) -> ObjectAttributes {
    ObjectAttributes(
      key: key, size: UInt64(status.st_size), modified: Int64(status.st_mtim.tv_sec),
      etag: "\(status.st_ino)-\(status.st_mtim.tv_sec).\(status.st_mtim.tv_nsec)-\(status.st_size)")
  }

  private func failure(_ key: ObjectKey) -> StoreError {
    let code = errno
    let kind: StoreError.Kind =
      switch code {
      case ENOENT, ENOTDIR, 0: .notFound
      case EACCES, EPERM: .accessDenied
      default: .serverFailure
      }
    return StoreError(kind, store: displayName, key: key, detail: systemMessage(code))
  }

  /// The whole folder as one page: paging would read it again for each.
  private func page(_ request: ListRequest) throws(StoreError) -> ListPage {
    let folder = request.folder
    guard let directory = opendir(path(of: folder)) else {
      if errno == ENOENT || errno == ENOTDIR {
        return ListPage(objects: [], folders: [], next: nil)
      }
      throw failure(folder)
    }
    defer { closedir(directory) }
    var page = ListPage(objects: [], folders: [], next: nil, folderExists: true)
    errno = 0
    while let entry = readdir(directory) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) }
      if name == Array(".".utf8) || name == Array("..".utf8) { continue }
      let key = folder + name
      var status = stat()
      guard stat(path(of: key), &status) == 0 else {
        errno = 0
        continue  // a dangling link, or gone since
      }
      switch status.st_mode & S_IFMT {
      case S_IFDIR: page.folders.append(key + [UInt8(ascii: "/")])
      case S_IFREG: page.objects.append(attributes(of: key, status))
      default: break
      }
      errno = 0
    }
    if errno != 0 { throw failure(folder) }
    page.objects.sort { $0.key < $1.key }
    page.folders.sort()
    return page
  }

  private func read(
    _ request: FetchRequest, into sink: any FetchSink, _ ticket: FolderTicket
  ) throws(StoreError) {
    let version = request.version
    let file = Glibc.open(path(of: version.key), O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { throw failure(version.key) }
    defer { close(file) }
    try check(file, version)
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 256 << 10, alignment: 4096)
    defer { buffer.deallocate() }
    var position = request.range.lowerBound
    while position < request.range.upperBound {
      if ticket.isCancelled.load(ordering: .relaxed) {
        throw StoreError(.cancelled, store: displayName, key: version.key, detail: "given up")
      }
      let wanted = min(buffer.count, Int(request.range.upperBound - position))
      let count = pread(file, buffer.baseAddress, wanted, off_t(position))
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { throw count == 0 ? changed(version.key) : failure(version.key) }
      // A file rewritten in place while it is read: seen before its bytes are handed on.
      try check(file, version)
      metrics.bytesFetched.add(count)
      sink.receive(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
      position += UInt64(count)
    }
  }

  private func check(_ file: CInt, _ version: ObjectVersion) throws(StoreError) {
    var status = stat()
    guard fstat(file, &status) == 0 else { throw failure(version.key) }
    if attributes(of: version.key, status).version != version { throw changed(version.key) }
  }

  private func changed(_ key: ObjectKey) -> StoreError {
    StoreError(.changed, store: displayName, key: key, detail: "the file was changed")
  }
}

private final class FolderTicket: FetchTicket {
  let isCancelled = Atomic(false)
  func cancel() { isCancelled.store(true, ordering: .relaxed) }
}

private func systemMessage(_ code: CInt = errno) -> String { String(cString: strerror(code)) }
