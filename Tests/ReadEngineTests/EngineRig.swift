import Glibc
import LocalStore
import Logging
import Metrics
import ObjectStore
import Posix
import ReadEngine
import SystemPackage

/// A real folder as store, an engine over it, and a cache folder that can be handed to the next engine.
final class EngineRig {
  let folder: String
  let source: String
  let cache: String
  let store: FaultyStore
  let metrics = Metrics()

  init() throws {
    var template = Array("/tmp/millrace-engine-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw Errno(rawValue: errno) }
    folder = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    source = folder + "/source"
    cache = folder + "/cache"
    mkdir(source, 0o700)
    store = FaultyStore(try FolderStore(folder: source, metrics: metrics.store))
  }

  deinit {
    store.shutdown()
    removeTree(folder)
  }

  func engine(
    memory: Int = 32 << 20, disk: Bool = true, cacheLimit: UInt64 = .max,
    ioTimeout: Duration = .seconds(20), eviction: EvictionPolicy = .epoch
  ) throws -> ReadEngine {
    try ReadEngine(
      store: store,
      configuration: EngineConfiguration(
        memoryLimit: memory, cacheFolder: disk ? cache : nil, cacheLimit: cacheLimit,
        eviction: eviction, freeSpaceFloor: 0, ioTimeout: ioTimeout),
      metrics: metrics, log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
  }

  /// Writes a file of bytes that tell their position, and returns its version.
  @discardableResult
  func put(_ name: String, size: Int, seed: UInt8 = 0) async throws -> ObjectVersion {
    let path = source + "/" + name
    let file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    guard file >= 0 else { throw Errno(rawValue: errno) }
    defer { close(file) }
    var position = 0
    while position < size {
      let bytes = content(at: UInt64(position), count: min(1 << 20, size - position), seed: seed)
      guard write(file, bytes, bytes.count) == bytes.count else { throw Errno(rawValue: errno) }
      position += bytes.count
    }
    return try await version(of: name)
  }

  func version(of name: String) async throws -> ObjectVersion {
    let attributes = try await withCheckedThrowingContinuation { continuation in
      store.head(ObjectKey(name), deadline: .now + .seconds(10)) {
        continuation.resume(with: $0)
      }
    }
    return attributes.version!
  }
}

/// What a file of `put` holds: every 8 bytes depend on their position, so that a block in the wrong
/// place shows.
func content(at offset: UInt64, count: Int, seed: UInt8 = 0) -> [UInt8] {
  let first = offset / 8
  let skipped = Int(offset % 8)
  let words = (skipped + count + 7) / 8
  return withUnsafeTemporaryAllocation(of: UInt64.self, capacity: words) { buffer in
    for index in 0..<words {
      let word = (first &+ UInt64(index)) &* 0x9E37_79B9_7F4A_7C15 &+ UInt64(seed)
      buffer.initializeElement(at: index, to: word.littleEndian)
    }
    return Array(UnsafeRawBufferPointer(buffer)[skipped..<skipped + count])
  }
}

extension OpenObject {
  /// Reads and waits for the answer; throws the errno of a failed read.
  func bytes(at offset: UInt64, count: Int) async throws -> [UInt8] {
    let answer: Result<[UInt8], Errno> = await withCheckedContinuation { continuation in
      let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 4096)
      defer { scratch.deallocate() }
      read(at: offset, count: count, scratch: scratch) { reply in
        continuation.resume(returning: collect(reply))
      } park: {
        Parked(continuation)
      }
    }
    return try answer.get()
  }
}

private func collect(_ reply: ReadReply) -> Result<[UInt8], Errno> {
  switch reply {
  case .failure(let errno): .failure(errno)
  case .data(let parts):
    .success(
      parts.reduce(into: []) { bytes, part in
        bytes += UnsafeRawBufferPointer(start: part.iov_base, count: part.iov_len)
      })
  }
}

private final class Parked: ParkedRead {
  private let continuation: CheckedContinuation<Result<[UInt8], Errno>, Never>
  init(_ continuation: CheckedContinuation<Result<[UInt8], Errno>, Never>) {
    self.continuation = continuation
  }
  func complete(_ reply: ReadReply, _ wait: ReadWait) {
    continuation.resume(returning: collect(reply))
  }
}

/// Waits until `condition` holds; throws after half a minute.
func until(_ condition: () -> Bool) async throws {
  let deadline = Instant.now + .seconds(30)
  while !condition() {
    guard Instant.now < deadline else { throw Errno.timedOut }
    try await Task.sleep(for: .milliseconds(2))
  }
}

func removeTree(_ path: String) {
  if let directory = opendir(path) {
    while let entry = readdir(directory) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) {
        String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
      }
      if name != ".", name != ".." { removeTree("\(path)/\(name)") }
    }
    closedir(directory)
    rmdir(path)
  } else {
    unlink(path)
  }
}

/// Every file under a folder, without the folder's own path.
func files(under path: String, _ prefix: String = "") -> [String] {
  guard let directory = opendir("\(path)/\(prefix)") else { return [] }
  defer { closedir(directory) }
  var found: [String] = []
  while let entry = readdir(directory) {
    let name = withUnsafeBytes(of: &entry.pointee.d_name) {
      String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
    }
    if name == "." || name == ".." { continue }
    var status = stat()
    let relative = prefix.isEmpty ? name : "\(prefix)/\(name)"
    guard lstat("\(path)/\(relative)", &status) == 0 else { continue }
    if status.st_mode & S_IFMT == S_IFDIR {
      found += files(under: path, relative)
    } else {
      found.append(relative)
    }
  }
  return found.sorted()
}
