import Glibc
import ObjectStore
import Posix

/// The bytes of a download into the spool, on the transport's thread.
final class SpoolDownload: FetchSink {
  private let version: ObjectVersion
  private let state: Monitor<SpoolState>

  init(version: ObjectVersion, state: Monitor<SpoolState>) {
    self.version = version
    self.state = state
  }

  var isAwaited: Bool { true }
  func waitedForLimit(_ time: Duration) {}

  func beginVerified() { state.withLock { $0.beginVerified(version) } }

  func receive(_ bytes: UnsafeRawBufferPointer) {
    // After a write that failed nothing more is taken: it would not lie where it belongs.
    guard let (file, position) = state.withLock({ $0.place(of: version) }) else { return }
    guard UInt64(bytes.count) <= version.size - position else {
      return fail("the server sent more than the \(version.size) bytes of its Content-Length")
    }
    let (written, code) = file.write(bytes, at: position)
    state.signal(all: true) { $0.wrote(written, of: version) }
    if written < bytes.count {
      fail("the download cannot be stored: \(String(cString: strerror(code)))")
    }
  }

  private func fail(_ detail: String) {
    let error = StoreError(.unsupported, store: "", key: version.key, detail: detail)
    let ticket = state.signal(all: true) { $0.fail(version, error) }
    ticket?.cancel()
  }

  func finish(_ result: Result<Void, StoreError>) {
    state.signal(all: true) { $0.ended(version, result, at: .now) }
  }
}
