/// What reads of cache files take: threads that may wait for a cold disk, and buffers.
import Posix

final class DiskReads: Sendable {
  let workers = WorkerPool(named: "disk", threads: threads, queueLimit: 4096)
  let files = FileReader()
  let scratch = ScratchBuffers()

  /// Enough to keep the disk's queue busy.
  private static let threads = 4
}
