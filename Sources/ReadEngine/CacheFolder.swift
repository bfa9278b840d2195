/// The folder of one store's cache files: who owns it, and which of its files may be trusted.
///
/// One daemon owns a folder, by flock; a second one takes a folder of its own beside it. Files that
/// were written since the machine started, or before a clean unmount, hold what was written to
/// them; after a crash of the machine each piece is verified when it is first read. Each record
/// carries the generation in which it was written, and the folder says from which generation on
/// records are trusted.
import CEngineShim
import Crypto
import Glibc
import Logging
import Posix
import SystemPackage

final class CacheFolder: Sendable {
  let path: String
  /// What new records are stamped with; never 0, which stands for "no record".
  let generation: UInt32
  /// Records of this generation and later need no check.
  let trustedFrom: UInt32
  /// The file system keeps extended attributes: small objects carry their record in one.
  let keepsAttributes: Bool
  private let lock: CInt

  /// Folders that daemons on one store may have beside each other.
  private static let maxOwners = 16

  /// Claims the folder for `store` under `root`, creating it (0700).
  init(root: String, store: String, log: Logger) throws(EngineError) {
    let base = root + "/" + Self.folderName(of: store)
    var claimed: (path: String, lock: CInt)?
    for number in 1...Self.maxOwners where claimed == nil {
      let path = number == 1 ? base : "\(base).\(number)"
      try Self.makeFolder(root)
      try Self.makeFolder(path)
      try Self.makeFolder(path + "/objects")
      guard let lock = try Self.lock(path + "/lock") else { continue }
      claimed = (path, lock)
      if number > 1 {
        log.warning(
          "another mount uses the cache of \(store); this one keeps its own copy in \(path)")
      }
    }
    guard let claimed else {
      throw EngineError(
        "\(base): \(Self.maxOwners) mounts use the cache of this store already; "
          + "give this one its own --cache-dir")
    }
    path = claimed.path
    lock = claimed.lock
    keepsAttributes = fsetxattr(lock, SmallRecord.attributeName, "probe", 5, 0) == 0

    let old = FolderState(contentsOf: path + "/state")
    let boot = Self.bootID()
    if let old, old.boot == boot || old.isClean {
      generation = old.generation
      trustedFrom = old.trustedFrom
    } else {
      generation = (old?.generation ?? 0) + 1
      trustedFrom = generation
      if old != nil {
        log.notice("\(path): the machine stopped without an unmount; pieces are verified when read")
      }
    }
    try write(FolderState(boot: boot, isClean: false, generation, trustedFrom))
    Self.emptyTemporary(path + "/tmp")
    try Self.makeFolder(path + "/tmp")
  }

  deinit { close(lock) }

  func path(of id: FileID) -> String { "\(path)/objects/\(id.folder)/\(id.name)" }
  func sidecarPath(of id: FileID) -> String { path(of: id) + ".pieces" }
  func temporaryPath(of id: FileID) -> String { "\(path)/tmp/\(id.name)" }

  /// Makes the sub-folder of a file that is about to be created.
  func makeParent(of id: FileID) { mkdir("\(path)/objects/\(id.folder)", 0o700) }

  /// Gives the folder up. What was written is on the disk then: the next start trusts it, whatever
  /// happens to the machine between.
  func release() {
    if millrace_syncfs(lock) == 0 {
      try? write(FolderState(boot: Self.bootID(), isClean: true, generation, trustedFrom))
    }
    flock(lock, LOCK_UN)
  }

  private func write(_ state: FolderState) throws(EngineError) {
    let temporary = path + "/state.new"
    do {
      let file = try OwnedDescriptor.open(temporary, O_WRONLY | O_CREAT | O_TRUNC)
      let text = Array(state.text.utf8)
      guard Glibc.write(file.raw, text, text.count) == text.count, fsync(file.raw) == 0,
        rename(temporary, path + "/state") == 0
      else { throw Errno.last }
    } catch {
      throw EngineError("cannot write to the cache folder \(path): \(error)")
    }
  }

  private static func lock(_ path: String) throws(EngineError) -> CInt? {
    let file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    guard file >= 0 else {
      throw EngineError("cannot write to the cache folder: \(path): \(Errno.last)")
    }
    if flock(file, LOCK_EX | LOCK_NB) == 0 { return file }
    let reason = Errno.last
    close(file)
    if reason == .wouldBlock { return nil }
    throw EngineError("cannot lock \(path): \(reason); the cache folder needs a local disk")
  }

  private static func makeFolder(_ path: String) throws(EngineError) {
    if mkdir(path, 0o700) == 0 || errno == EEXIST { return }
    if errno == ENOENT, let slash = path.lastIndex(of: "/"), slash != path.startIndex {
      try makeFolder(String(path[..<slash]))
      if mkdir(path, 0o700) == 0 || errno == EEXIST { return }
    }
    throw EngineError("cannot make the cache folder \(path): \(Errno.last); see --cache-dir")
  }

  private static func emptyTemporary(_ path: String) {
    for name in DirectoryReader.names(in: path) { unlink("\(path)/\(name)") }
  }

  /// Readable, safe as a file name, and unique by a hash.
  static func folderName(of store: String) -> String {
    let readable = store.utf8.prefix(60).map { byte -> Character in
      let scalar = Character(UnicodeScalar(byte))
      return scalar.isASCII
        && (scalar.isLetter || scalar.isNumber || scalar == "." || scalar == "-")
        ? scalar : "_"
    }
    let hash = SHA256.hash(data: Array(store.utf8)).prefix(4).map { byte in
      (byte < 16 ? "0" : "") + String(byte, radix: 16)
    }
    return String(readable) + "-" + hash.joined()
  }

  private static func bootID() -> String {
    guard let file = fopen("/proc/sys/kernel/random/boot_id", "r") else { return "unknown" }
    defer { fclose(file) }
    var buffer = [CChar](repeating: 0, count: 64)
    guard fgets(&buffer, 64, file) != nil else { return "unknown" }
    return String(decoding: buffer.prefix { $0 != 0 && $0 != 10 }.map(UInt8.init), as: UTF8.self)
  }
}

/// What the `state` file of a cache folder says, one word and value a line.
struct FolderState: Equatable {
  var boot: String
  var isClean: Bool
  var generation: UInt32
  var trustedFrom: UInt32

  init(boot: String, isClean: Bool, _ generation: UInt32, _ trustedFrom: UInt32) {
    self.boot = boot
    self.isClean = isClean
    self.generation = generation
    self.trustedFrom = trustedFrom
  }

  /// `nil` unless every line is there and right: then nothing in the folder is trusted.
  init?(text: String) {
    var values: [Substring: Substring] = [:]
    for line in text.split(separator: "\n") {
      let words = line.split(separator: " ")
      if words.count == 2 { values[words[0]] = words[1] }
    }
    guard let boot = values["boot"], let clean = values["clean"],
      let generation = values["generation"].flatMap({ UInt32($0) }), generation > 0,
      let trustedFrom = values["trusted-from"].flatMap({ UInt32($0) })
    else { return nil }
    self.init(boot: String(boot), isClean: clean == "1", generation, trustedFrom)
  }

  init?(contentsOf path: String) {
    guard let file = fopen(path, "r") else { return nil }
    defer { fclose(file) }
    var buffer = [UInt8](repeating: 0, count: 1024)
    let count = fread(&buffer, 1, buffer.count, file)
    self.init(text: String(decoding: buffer.prefix(count), as: UTF8.self))
  }

  var text: String {
    "boot \(boot)\nclean \(isClean ? 1 : 0)\ngeneration \(generation)\ntrusted-from \(trustedFrom)\n"
  }
}

enum DirectoryReader {
  /// Names in a folder, without "." and ".."; none if it cannot be read.
  static func names(in path: String) -> [String] {
    guard let directory = opendir(path) else { return [] }
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
}
