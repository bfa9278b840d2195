/// Reads cache files. One place, so that a test can make the disk fail on purpose.
import CEngineShim
import Glibc

struct FileReader: Sendable {
  /// True if all of it was in the page cache and is in `buffer` now.
  func readNow(
    _ descriptor: CInt, _ bytes: Range<UInt64>, into buffer: UnsafeMutableRawBufferPointer
  ) -> Bool {
    millrace_pread_nowait(descriptor, buffer.baseAddress, bytes.count, off_t(bytes.lowerBound))
      == bytes.count
  }

  /// True if all of it is in `buffer` now; waits for the disk. False leaves errno (0: cut short).
  func read(
    _ descriptor: CInt, _ bytes: Range<UInt64>, into buffer: UnsafeMutableRawBufferPointer
  ) -> Bool {
    var done = 0
    while done < bytes.count {
      errno = 0
      let count = pread(
        descriptor, buffer.baseAddress! + done, bytes.count - done,
        off_t(bytes.lowerBound) + off_t(done))
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { return false }
      done += count
    }
    return true
  }
}
