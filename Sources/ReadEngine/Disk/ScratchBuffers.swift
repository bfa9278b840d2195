/// Buffers for reads from a cold disk, kept: a fresh MiB of memory costs more than reading it.
import Posix

final class ScratchBuffers: Sendable {
  /// The largest read that the kernel sends.
  private static let size = 1 << 20
  /// One for each thread that reads from disk.
  private static let kept = 4

  private let free = Lock<[UnsafeMutableRawBufferPointer]>([])

  deinit { for buffer in free.withLock({ $0 }) { buffer.deallocate() } }

  /// Runs `body` with a buffer of at least `count` bytes.
  func withBuffer<Result>(
    of count: Int, _ body: (UnsafeMutableRawBufferPointer) -> Result
  ) -> Result {
    let buffer = take(count)
    defer { giveBack(buffer) }
    return body(buffer)
  }

  private func take(_ count: Int) -> UnsafeMutableRawBufferPointer {
    if count <= Self.size, let buffer = free.withLock({ $0.popLast() }) { return buffer }
    return .allocate(byteCount: max(count, Self.size), alignment: 4096)
  }

  private func giveBack(_ buffer: UnsafeMutableRawBufferPointer) {
    let isKept = free.withLock { free in
      guard buffer.count == Self.size, free.count < Self.kept else { return false }
      free.append(buffer)
      return true
    }
    if !isKept { buffer.deallocate() }
  }
}
