import Glibc

/// The whole of a small file of /proc, /sys or /etc; of a larger one what is within `limit` bytes.
public func readSmallFile(_ path: String, atMost limit: Int = 4 << 20) -> String? {
  let file = open(path, O_RDONLY | O_CLOEXEC)
  guard file >= 0 else { return nil }
  defer { close(file) }
  var bytes: [UInt8] = []
  var piece = [UInt8](repeating: 0, count: 16 << 10)
  while bytes.count < limit {
    let count = read(file, &piece, piece.count)
    if count < 0 && errno == EINTR { continue }
    guard count > 0 else { return count == 0 ? String(decoding: bytes, as: UTF8.self) : nil }
    bytes += piece[..<count]
  }
  return String(decoding: bytes, as: UTF8.self)
}
