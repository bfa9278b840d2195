import Glibc

/// The descriptors of this process at this moment, without the one that looks.
public func openDescriptors() -> [CInt] {
  guard let directory = opendir("/proc/self/fd") else { return [] }
  defer { closedir(directory) }
  var numbers: [CInt] = []
  while let entry = readdir(directory) {
    let name = withUnsafeBytes(of: &entry.pointee.d_name) {
      String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
    }
    if let number = CInt(name), number != dirfd(directory) { numbers.append(number) }
  }
  return numbers
}

/// Where a descriptor of this process leads: a path, or a name like "anon_inode:[eventpoll]". Empty: it is not open.
public func descriptorTarget(_ descriptor: CInt) -> [UInt8] {
  var buffer = [UInt8](repeating: 0, count: Int(PATH_MAX) + 1)
  let count = buffer.withUnsafeMutableBytes {
    readlink(
      "/proc/self/fd/\(descriptor)", $0.baseAddress!.assumingMemoryBound(to: CChar.self), $0.count)
  }
  return Array(buffer.prefix(max(0, count)))
}
