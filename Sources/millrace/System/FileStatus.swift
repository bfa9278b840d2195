import Glibc

/// stat(2), as far as the command line asks.
struct FileStatus {
  var isFolder: Bool
  var owner: UInt32
  var mode: UInt32
  var size: Int64

  /// nil with errno set when there is nothing, or it cannot be asked.
  init?(of path: String) {
    var status = stat()
    guard stat(path, &status) == 0 else { return nil }
    isFolder = status.st_mode & S_IFMT == S_IFDIR
    owner = status.st_uid
    mode = status.st_mode & 0o7777
    size = Int64(status.st_size)
  }
}

/// errno in words.
func systemMessage(_ code: Int32 = errno) -> String { String(cString: strerror(code)) }

/// The path from the root on, whether anything is there or not.
func absolutePath(_ path: String) -> String {
  path.hasPrefix("/") ? path : (realPath(".") ?? "") + "/" + path
}

/// The absolute path without links; nil with errno set.
func realPath(_ path: String) -> String? {
  guard let resolved = realpath(path, nil) else { return nil }
  defer { free(resolved) }
  return String(cString: resolved)
}

/// The absolute path, the last component untouched: a dead mount there is not asked.
func pathThroughParent(_ path: String) -> String? {
  var trimmed = Substring(path)
  while trimmed.count > 1, trimmed.hasSuffix("/") { trimmed.removeLast() }
  guard let slash = trimmed.lastIndex(of: "/") else {
    guard trimmed != ".", trimmed != "..", let base = realPath(".") else { return realPath(path) }
    return base == "/" ? "/\(trimmed)" : "\(base)/\(trimmed)"
  }
  let name = trimmed[trimmed.index(after: slash)...]
  guard !name.isEmpty, name != ".", name != ".." else { return realPath(path) }
  let parent = slash == trimmed.startIndex ? "/" : String(trimmed[..<slash])
  guard let base = realPath(parent) else { return nil }
  return base == "/" ? "/\(name)" : "\(base)/\(name)"
}

/// The process's environment.
func processEnvironment() -> [String: String] {
  var result: [String: String] = [:]
  var next = environ
  while let entry = next.pointee {
    let text = String(cString: entry)
    if let equals = text.firstIndex(of: "=") {
      result[String(text[..<equals])] = String(text[text.index(after: equals)...])
    }
    next += 1
  }
  return result
}
