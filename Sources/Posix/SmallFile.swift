import Glibc
public import SystemPackage

/// The whole of a small file of /proc, /sys or /etc; of a larger one what is within `limit` bytes. Nil: it cannot be
/// read.
public func readSmallFile(_ path: String, atMost limit: Int = 4 << 20) -> String? {
  (try? readSmallBytes(path, atMost: limit)).map { String(decoding: $0, as: UTF8.self) }
}

/// The same as bytes: `limit` or more of them where the file has as many. Does not wait for the other end of a pipe.
public func readSmallBytes(_ path: String, atMost limit: Int) throws(Errno) -> [UInt8] {
  let file = try OwnedDescriptor.open(path, O_RDONLY | O_NONBLOCK)
  var bytes: [UInt8] = []
  var part = [UInt8](repeating: 0, count: 16 << 10)
  while bytes.count < limit {
    let count = read(file.raw, &part, part.count)
    if count < 0 && errno == EINTR { continue }
    // A pipe that has no more for now.
    if count == 0 || (count < 0 && errno == EAGAIN && !bytes.isEmpty) { break }
    guard count > 0 else { throw Errno.last }
    bytes += part[..<count]
  }
  return bytes
}

/// Why a file was not read, in words that go on after its name.
public struct UnreadableFile: Error {
  public var reason: String
}

/// The whole of a regular file, which may be large: `limit` bytes at most, a multiple of a MiB.
public func readRegularFile(_ path: String, atMost limit: Int) throws(UnreadableFile) -> [UInt8] {
  let file = try opened(path)
  var status = stat()
  guard fstat(file.raw, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
    throw UnreadableFile(reason: "not a file")
  }
  guard status.st_size <= limit else {
    let shown = limit >= 1 << 30 ? "\(limit >> 30) GiB" : "\(limit >> 20) MiB"
    throw UnreadableFile(reason: "larger than \(shown)")
  }
  var bytes = [UInt8](repeating: 0, count: Int(status.st_size))
  var filled = 0
  while filled < bytes.count {
    let count = bytes.withUnsafeMutableBytes {
      pread(file.raw, $0.baseAddress! + filled, $0.count - filled, off_t(filled))
    }
    if count < 0 && errno == EINTR { continue }
    guard count > 0 else { throw UnreadableFile(reason: "cannot be read: errno \(errno)") }
    filled += count
  }
  return bytes
}

private func opened(_ path: String) throws(UnreadableFile) -> OwnedDescriptor {
  // Not blocking: a pipe without a writer is no file, and is not waited for.
  do throws(Errno) { return try OwnedDescriptor.open(path, O_RDONLY | O_NONBLOCK) } catch {
    throw UnreadableFile(reason: "cannot be opened: \(error)")
  }
}
