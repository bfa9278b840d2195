import Glibc

/// The names in a directory without "." and "..". Nil: it cannot be read, and errno says why.
public func directoryNames(_ path: String) -> [String]? {
  opendir(path).map { directoryNames(closing: $0) }
}

func directoryNames(closing directory: OpaquePointer) -> [String] {
  defer { closedir(directory) }
  var names: [String] = []
  while let entry = readdir(directory) {
    let name = withUnsafeBytes(of: &entry.pointee.d_name) {
      String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
    }
    if name != "." && name != ".." { names.append(name) }
  }
  return names
}
