import Glibc
import Posix

/// Runs `body`, and gives what was written to standard error meanwhile: fusermount3 inherits it
/// and tells its reasons there and nowhere else. Process-wide, for the milliseconds of a mount.
enum StandardErrorCapture {
  private static let oneAtATime = Lock(())

  static func run<Value>(_ body: () -> Value) -> (Value, [String]) {
    oneAtATime.withLock { _ in
      var ends: [CInt] = [-1, -1]
      let saved = dup(STDERR_FILENO)
      guard saved >= 0, pipe(&ends) == 0 else {
        if saved >= 0 { close(saved) }
        return (body(), [])
      }
      dup2(ends[1], STDERR_FILENO)
      close(ends[1])
      let value = body()
      dup2(saved, STDERR_FILENO)
      close(saved)
      defer { close(ends[0]) }
      return (value, lines(from: ends[0]))
    }
  }

  /// Reads what is there, without waiting for writers that live on.
  private static func lines(from descriptor: CInt) -> [String] {
    var bytes: [UInt8] = []
    var piece = [UInt8](repeating: 0, count: 4096)
    var ready = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    while poll(&ready, 1, 0) == 1 {
      let count = read(descriptor, &piece, piece.count)
      guard count > 0 else { break }
      bytes += piece[..<count]
    }
    return bytes.split(separator: UInt8(ascii: "\n")).map { String(decoding: $0, as: UTF8.self) }
  }
}
