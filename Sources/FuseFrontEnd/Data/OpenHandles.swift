import FileSystem
import Metrics
import Posix

/// A file that is open, and by whom.
final class FileHandle: Sendable {
  let file: OpenFile
  let account: CallerAccount
  /// nil until the open is answered, and for good if it never is.
  private let claim = Lock<ModeClaim?>(nil)

  init(_ file: OpenFile, _ account: CallerAccount) {
    self.file = file
    self.account = account
  }

  func hold(_ claim: ModeClaim) { self.claim.withLock { $0 = claim } }

  /// Closes the object, then gives the inode's mode back.
  func close() {
    file.close()
    // Ends outside the lock: a claim takes another one.
    let ended = claim.withLock { claim in
      defer { claim = nil }
      return claim
    }
    withExtendedLifetime(ended) {}
  }
}

/// What `fi->fh` points to: open files and directories, each retained from OPEN to RELEASE. They are
/// kept track of because a connection that is cut sends no more releases.
final class OpenHandles: Sendable {
  private struct State {
    var files: Set<UInt> = []
    var directories: Set<UInt> = []
  }

  private let state = Lock(State())

  var count: Int { state.withLock { $0.files.count + $0.directories.count } }

  func add(_ file: FileHandle) -> UInt64 {
    let handle = UInt(bitPattern: Unmanaged.passRetained(file).toOpaque())
    state.withLock { _ = $0.files.insert(handle) }
    return UInt64(handle)
  }

  func add(_ directory: OpenFolder) -> UInt64 {
    let handle = UInt(bitPattern: Unmanaged.passRetained(directory).toOpaque())
    state.withLock { _ = $0.directories.insert(handle) }
    return UInt64(handle)
  }

  /// Closes the file and forgets the handle; nothing if that was done before.
  func closeFile(_ handle: UInt64) {
    let handle = UInt(handle)
    guard state.withLock({ $0.files.remove(handle) }) != nil else { return }
    OpenHandles.release(file: handle)
  }

  func closeDirectory(_ handle: UInt64) {
    let handle = UInt(handle)
    guard state.withLock({ $0.directories.remove(handle) }) != nil else { return }
    OpenHandles.release(directory: handle)
  }

  /// Once no request can come any more.
  func closeAll() {
    let left = state.withLock { state in
      defer { state = State() }
      return state
    }
    for handle in left.files { OpenHandles.release(file: handle) }
    for handle in left.directories { OpenHandles.release(directory: handle) }
  }

  /// Borrows the file: the kernel sends no read after the release.
  static func withFile<Result>(_ handle: UInt64, _ body: (FileHandle) -> Result) -> Result {
    Unmanaged<FileHandle>.fromOpaque(UnsafeRawPointer(bitPattern: UInt(handle))!)
      ._withUnsafeGuaranteedRef(body)
  }

  static func directory(_ handle: UInt64) -> OpenFolder {
    Unmanaged<OpenFolder>.fromOpaque(UnsafeRawPointer(bitPattern: UInt(handle))!)
      .takeUnretainedValue()
  }

  private static func release(file handle: UInt) {
    Unmanaged<FileHandle>.fromOpaque(UnsafeRawPointer(bitPattern: handle)!).takeRetainedValue()
      .close()
  }

  private static func release(directory handle: UInt) {
    Unmanaged<OpenFolder>.fromOpaque(UnsafeRawPointer(bitPattern: handle)!).takeRetainedValue()
      .close()
  }
}
