import Glibc

/// Memory of a loop thread's own, where bytes from disk are read into on their way to the kernel:
/// the largest request and a page, page aligned, allocated once.
enum Scratch {
  static let size = InitNegotiation.requestSize + 4096

  /// Where each thread finds its own.
  private static let key: pthread_key_t = {
    var key = pthread_key_t()
    let result = pthread_key_create(&key) { free($0) }
    precondition(result == 0, "no thread-specific key left: errno \(result)")
    return key
  }()

  /// Called at the start of a loop thread; freed when the thread ends.
  static func prepareThisThread() {
    var memory: UnsafeMutableRawPointer?
    let result = posix_memalign(&memory, 4096, size)
    precondition(result == 0, "no memory for a loop thread's buffer")
    pthread_setspecific(key, memory)
  }

  /// Nil on a thread that is not of the loop.
  @inline(__always)
  static func ofThisThread() -> UnsafeMutableRawBufferPointer? {
    pthread_getspecific(key).map { UnsafeMutableRawBufferPointer(start: $0, count: size) }
  }
}
