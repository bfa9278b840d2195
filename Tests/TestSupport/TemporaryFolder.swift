public import Glibc

/// A folder that goes, with all in it, when its owner lets it go.
public final class TemporaryFolder: Sendable {
  public let path: String

  /// `parent`: /tmp unless told; TMPDIR is honoured.
  public init(_ label: String = "test", in parent: String? = nil) throws {
    let base = parent ?? environmentVariable("TMPDIR") ?? "/tmp"
    var template = Array("\(base)/millrace-\(label)-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else {
      throw SupportError("cannot make a folder in \(base): \(systemMessage())")
    }
    path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    AtExit.note(folder: path)
  }

  deinit {
    removeTree(path)
    AtExit.forget(folder: path)
  }

  /// The path of `name` inside; nothing is made.
  public func path(_ name: String) -> String { path + "/" + name }

  /// Makes a folder inside and returns its path.
  @discardableResult
  public func folder(_ name: String, mode: mode_t = 0o755) throws -> String {
    var made = path
    for part in name.split(separator: "/") {
      made += "/" + part
      if mkdir(made, mode) != 0 && errno != EEXIST {
        throw SupportError("cannot make \(made): \(systemMessage())")
      }
    }
    return made
  }

  /// Writes a file inside, with the folders that it needs, and returns its path.
  @discardableResult
  public func file(_ name: String, _ bytes: some Collection<UInt8>) throws -> String {
    if let slash = name.lastIndex(of: "/") { try folder(String(name[..<slash])) }
    try writeFile(path(name), bytes)
    return path(name)
  }

  @discardableResult
  public func file(_ name: String, text: String) throws -> String { try file(name, text.utf8) }

  /// A file of `size` bytes that takes no room: reads as zeros, but for what is written into it.
  @discardableResult
  public func sparseFile(_ name: String, size: Int) throws -> String {
    let file = open(path(name), O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
    guard file >= 0 else { throw SupportError("cannot make \(path(name)): \(systemMessage())") }
    defer { close(file) }
    guard ftruncate(file, off_t(size)) == 0 else {
      throw SupportError("cannot size \(path(name)): \(systemMessage())")
    }
    return path(name)
  }
}

/// Removes a folder and what is in it. It does not cross into another file system: a mount that a
/// failed test left inside is not emptied through its mount point.
public func removeTree(_ path: String) {
  var status = stat()
  guard lstat(path, &status) == 0 else { return }
  if status.st_mode & S_IFMT == S_IFDIR {
    var arguments =
      ["rm", "-rf", "--one-file-system", "--", path].map { $0.withCString { strdup($0) } } + [nil]
    defer { for argument in arguments { free(argument) } }
    var pid = pid_t()
    guard posix_spawnp(&pid, "rm", nil, nil, &arguments, environ) == 0 else { return }
    waitpid(pid, nil, 0)
  } else {
    unlink(path)
  }
}

public func writeFile(_ path: String, _ bytes: some Collection<UInt8>) throws {
  let file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
  guard file >= 0 else { throw SupportError("cannot write \(path): \(systemMessage())") }
  defer { close(file) }
  let content = Array(bytes)
  var written = 0
  while written < content.count {
    let count = content.withUnsafeBytes {
      write(file, $0.baseAddress! + written, content.count - written)
    }
    if count < 0 && errno == EINTR { continue }
    guard count > 0 else { throw SupportError("cannot write \(path): \(systemMessage())") }
    written += count
  }
}

/// The whole file; throws with the errno's words in the message.
public func readFile(_ path: String) throws -> [UInt8] {
  let file = open(path, O_RDONLY | O_CLOEXEC)
  guard file >= 0 else { throw SupportError("cannot open \(path): \(systemMessage())") }
  defer { close(file) }
  var content: [UInt8] = []
  var buffer = [UInt8](repeating: 0, count: 1 << 16)
  while true {
    let count = read(file, &buffer, buffer.count)
    if count < 0 && errno == EINTR { continue }
    guard count >= 0 else { throw SupportError("cannot read \(path): \(systemMessage())") }
    if count == 0 { return content }
    content.append(contentsOf: buffer[..<count])
  }
}

public func readText(_ path: String) throws -> String {
  String(decoding: try readFile(path), as: UTF8.self)
}

public func fileExists(_ path: String) -> Bool { access(path, F_OK) == 0 }

func systemMessage(_ code: CInt = errno) -> String { String(cString: strerror(code)) }
