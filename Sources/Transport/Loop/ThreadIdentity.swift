import Glibc
import Posix

/// Remembers a thread, to determine whether a call comes from it.
final class ThreadIdentity: Sendable {
  private let handle = Lock<pthread_t?>(nil)

  func setToCurrent() { handle.withLock { $0 = pthread_self() } }

  var isCurrent: Bool {
    handle.withLock { handle in
      guard let handle else { return false }
      return pthread_equal(handle, pthread_self()) != 0
    }
  }
}
