// LocalStore: a local or network directory as an ObjectStore.
//
// Parts.
//   FolderStore                  the store, and its threads: files are read with calls that wait
//   FolderFiles                  names, attributes and validators of files; links
//   FolderRoot                   opens paths below the root and nowhere else
//
// Promises. What is opened lies in the directory, whatever a link says, unless the user asks for more. A file that
// changes while it is read fails the fetch.
//
// Callers: StoreFactory of the command line makes it; the engine and the file system call it as an ObjectStore.

import Glibc
public import Metrics
public import ObjectStore
public import Posix
import Synchronization

/// A local or network folder as a store: `file:///DIR`.
///
/// The validator of a file is its inode, size and modification time in nanoseconds, checked before
/// and after every read; a file rewritten in place to the same size within one tick of the kernel's
/// clock (about 4 ms) is not seen. Symbolic links are followed where they lead within the folder, and out of it only
/// on demand; others are left out, as is all that is neither file nor folder.
public final class FolderStore: ObjectStore {
  public let displayName: String
  public let identity: String
  public let traits = StoreTraits(preferredRange: 4 << 20, maxConcurrentFetches: 8)

  private let files: FolderFiles
  private let workers = WorkerPool(named: "directory", threads: 4)
  private let isStopping = Atomic(false)
  private let metrics: StoreMetrics
  private let lastRights: Lock<AccessRights?>

  /// `folder`: an absolute path. `followsLinks`: also those that lead out of it. `showsRights`: validators of files and
  /// folders end in their `AccessRights`. `onLinkOut` is called, once at most, with a link that leads out and is not shown.
  public init(
    folder: String, followsLinks: Bool = false, showsRights: Bool = false, metrics: StoreMetrics,
    onLinkOut: @escaping @Sendable (ObjectKey) -> Void = { _ in }
  ) throws(StoreError) {
    guard folder.utf8.first == UInt8(ascii: "/"), !folder.utf8.contains(0) else {
      throw StoreError(
        .invalidSource, store: "file://\(folder)", detail: "not an absolute path",
        advice: "a directory is given as file:///PATH")
    }
    var base = folder
    while base.utf8.last == UInt8(ascii: "/") { base.removeLast() }
    displayName = "file://\(base)"
    // Another tree: neither listings nor bytes of links are left for a mount that does not follow them.
    identity = followsLinks ? "\(displayName) and links" : displayName
    let isSaid = Lock(false)
    files = try FolderFiles(
      base: Array(base.utf8), displayName: displayName, followsLinks: followsLinks,
      showsRights: showsRights
    ) { key in
      let isFirst = isSaid.withLock { isSaid in
        defer { isSaid = true }
        return !isSaid
      }
      if isFirst { onLinkOut(key) }
    }
    self.metrics = metrics
    lastRights = Lock(files.rights)
  }

  /// Of the folder itself, as last seen; it is looked at with every listing and head.
  public var rights: AccessRights? { lastRights.withLock { $0 } }

  private func updateRights() {
    guard files.showsRights else { return }
    let rights = files.rights
    lastRights.withLock { $0 = rights }
  }

  public func list(
    _ request: ListRequest, completion: @escaping @Sendable (Result<ListPage, StoreError>) -> Void
  ) {
    metrics.listRequests.add()
    run(request.folder, by: request.deadline, completion) { store throws(StoreError) in
      store.updateRights()
      return try store.files.page(of: request.folder)
    }
  }

  public func head(
    _ key: ObjectKey, deadline: Instant,
    completion: @escaping @Sendable (Result<ObjectAttributes, StoreError>) -> Void
  ) {
    metrics.headRequests.add()
    run(key, by: deadline, completion) { store throws(StoreError) in
      store.updateRights()
      return try store.files.attributes(of: key)
    }
  }

  @discardableResult
  public func fetch(_ request: FetchRequest, into sink: any FetchSink) -> any FetchTicket {
    metrics.getRequests.add()
    let ticket = FolderTicket()
    run(request.version.key, by: request.deadline) {
      sink.finish($0)
    } body: { store throws(StoreError) in
      store.metrics.inFlight.add(1)
      defer { store.metrics.inFlight.add(-1) }
      try store.read(request, into: sink, ticket)
    }
    return ticket
  }

  public func shutdown() {
    isStopping.store(true, ordering: .relaxed)
    workers.shutdown()
  }

  private func run<Value>(
    _ key: ObjectKey, by deadline: Instant,
    _ completion: @escaping @Sendable (Result<Value, StoreError>) -> Void,
    body: @escaping @Sendable (FolderStore) throws(StoreError) -> Value
  ) {
    let taken = workers.submit { [self] in
      let result: Result<Value, StoreError>
      do throws(StoreError) {
        try checkTime(key, deadline)
        result = .success(try body(self))
      } catch { result = .failure(error) }
      if case .failure(let error) = result, error.kind != .cancelled, error.kind != .notFound {
        metrics.errors.add()
      }
      completion(result)
    }
    if !taken {
      let detail = "shutting down, or too many requests are queued"
      completion(.failure(StoreError(.cancelled, store: displayName, key: key, detail: detail)))
    }
  }

  private func checkTime(_ key: ObjectKey, _ deadline: Instant) throws(StoreError) {
    if isStopping.load(ordering: .relaxed) {
      throw StoreError(.cancelled, store: displayName, key: key, detail: "shutting down")
    }
    if Instant.now >= deadline {
      throw StoreError(
        .timedOut, store: displayName, key: key, detail: "the file system did not respond in time")
    }
  }

  private func read(
    _ request: FetchRequest, into sink: any FetchSink, _ ticket: FolderTicket
  ) throws(StoreError) {
    let version = request.version
    let file = try files.open(version.key)
    try files.check(file, is: version)
    let length = min(256 << 10, Int(request.range.upperBound - request.range.lowerBound))
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: length, alignment: 4096)
    defer { buffer.deallocate() }
    var position = request.range.lowerBound
    while position < request.range.upperBound {
      if ticket.isCancelled.load(ordering: .relaxed) {
        throw StoreError(.cancelled, store: displayName, key: version.key, detail: "given up")
      }
      try checkTime(version.key, request.deadline)
      let wanted = min(buffer.count, Int(request.range.upperBound - position))
      let count = pread(file.raw, buffer.baseAddress, wanted, off_t(position))
      if count < 0 && errno == EINTR { continue }
      if count < 0 { throw files.failure(version.key, errno) }
      // A file rewritten in place while it is read: seen before its bytes are handed on.
      try files.check(file, is: version)
      guard count > 0 else { throw files.changed(version.key) }
      metrics.bytesFetched.add(count)
      sink.receive(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
      position += UInt64(count)
    }
  }
}

private final class FolderTicket: FetchTicket {
  let isCancelled = Atomic(false)
  func cancel() { isCancelled.store(true, ordering: .relaxed) }
}
