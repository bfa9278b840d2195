import Glibc
import ObjectStore
import Posix

/// A file without a name that a download is written to and read back from. Closed when the last who reads or writes
/// it lets go; its space is free then.
final class SpoolFile: Sendable {
  private let raw: CInt
  private let space: SpoolAllowance.Reservation

  private init(_ raw: CInt, _ space: SpoolAllowance.Reservation) {
    self.raw = raw
    self.space = space
  }

  deinit { close(raw) }

  /// nil: see `errno`.
  static func open(_ folder: String, _ space: SpoolAllowance.Reservation) -> SpoolFile? {
    // O_TMPFILE does not reach Swift; a file that is unlinked at once has no name either.
    var path = Array("\(folder)/.millrace-spool-XXXXXX".utf8CString)
    let file = mkstemp(&path)
    guard file >= 0 else { return nil }
    _ = fcntl(file, F_SETFD, FD_CLOEXEC)
    unlink(path)
    return SpoolFile(file, space)
  }

  /// Returns how many bytes were written; fewer than all: see `code`, an errno.
  func write(
    _ bytes: UnsafeRawBufferPointer, at position: UInt64
  ) -> (written: Int, code: CInt) {
    var written = 0
    while written < bytes.count {
      let count = pwrite(
        raw, bytes.baseAddress! + written, bytes.count - written,
        off_t(position) + off_t(written))
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { break }
      written += count
    }
    let code = errno
    space.wrote(UInt64(written))
    return (written, code)
  }

  /// Hands a range to a sink, a slice at a time. False: it cannot be read back whole.
  func read(_ range: Range<UInt64>, into sink: any FetchSink) -> Bool {
    var position = range.lowerBound
    withUnsafeTemporaryAllocation(byteCount: 128 << 10, alignment: 16) { buffer in
      while position < range.upperBound {
        let wanted = Int(min(UInt64(buffer.count), range.upperBound - position))
        let count = pread(raw, buffer.baseAddress, wanted, off_t(position))
        if count < 0, errno == EINTR { continue }
        guard count > 0 else { break }
        sink.receive(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
        position += UInt64(count)
      }
    }
    return position == range.upperBound
  }
}
