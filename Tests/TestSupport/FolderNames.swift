import Glibc

/// The names in a folder, without "." and "..", sorted by bytes.
public func namesIn(_ path: String) throws -> [[UInt8]] {
  guard let directory = opendir(path) else { throw SupportError("opendir \(path): errno \(errno)") }
  defer { closedir(directory) }
  var names: [[UInt8]] = []
  while let entry = readdir(directory) {
    let name = withUnsafeBytes(of: &entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) }
    if name != Array(".".utf8) && name != Array("..".utf8) { names.append(name) }
  }
  return names.sorted { $0.lexicographicallyPrecedes($1) }
}
