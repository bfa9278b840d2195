import Glibc
import Posix
import Synchronization
import TestSupport

/// Readers that cost next to nothing beside what they measure: a few threads, one buffer each,
/// plain read(2).
enum Reader {
  private static let block = 1 << 20

  /// Reads the files whole by `threads` at once, each file once; seconds and bytes.
  static func read(_ files: [String], threads: Int) throws -> (seconds: Double, bytes: Int) {
    let failure = Lock<String?>(nil)
    let start = Instant.now
    let shared = Progress()
    let running = (0..<threads).map { index in
      Posix.Thread(named: "reader-\(index)") {
        let buffer = UnsafeMutableRawPointer.allocate(byteCount: block, alignment: 4096)
        defer { buffer.deallocate() }
        while true {
          let number = shared.next.wrappingAdd(1, ordering: .relaxed).oldValue
          guard number < files.count else { return }
          do {
            shared.bytes.wrappingAdd(try readWhole(files[number], buffer), ordering: .relaxed)
          } catch {
            failure.withLock { $0 = "\(error)" }
            return
          }
        }
      }
    }
    for thread in running { thread.join() }
    let seconds = (Instant.now - start).seconds
    if let text = failure.withLock({ $0 }) { throw SupportError(text) }
    return (seconds, shared.bytes.load(ordering: .relaxed))
  }

  private final class Progress: Sendable {
    let next = Atomic(0)
    let bytes = Atomic(0)
  }

  private static func readWhole(_ path: String, _ buffer: UnsafeMutableRawPointer) throws -> Int {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { throw SupportError("open \(path): errno \(errno)") }
    defer { close(file) }
    var total = 0
    while true {
      let count = Glibc.read(file, buffer, block)
      if count < 0 && errno == EINTR { continue }
      guard count >= 0 else { throw SupportError("read \(path): errno \(errno)") }
      if count == 0 { return total }
      total += count
    }
  }

  /// Empties the page cache of the whole machine (root); false where that is not allowed.
  static func dropPageCache() -> Bool {
    sync()
    let file = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC)
    guard file >= 0 else { return false }
    defer { close(file) }
    return write(file, "3", 1) == 1
  }
}
