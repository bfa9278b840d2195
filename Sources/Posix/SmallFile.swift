import SystemPackage

/// The whole of a small file of /proc, /sys or /etc; of a larger one what is within `limit` bytes. Nil if it cannot be
/// read.
public func readSmallFile(_ path: String, atMost limit: Int = 4 << 20) -> String? {
  readSmallFileBytes(path, atMost: limit).map { String(decoding: $0, as: UTF8.self) }
}

/// The same for what need not be UTF-8.
public func readSmallFileBytes(_ path: String, atMost limit: Int = 4 << 20) -> [UInt8]? {
  let file = try? FileDescriptor.open(FilePath(path), .readOnly, options: .closeOnExec)
  return try? file?.closeAfter {
    var bytes: [UInt8] = []
    while bytes.count < limit {
      let chunk = try [UInt8](unsafeUninitializedCapacity: 16 << 10) { buffer, count in
        count = try file!.read(into: UnsafeMutableRawBufferPointer(buffer))
      }
      if chunk.isEmpty { break }
      bytes += chunk
    }
    return bytes
  }
}
