/// The folder of one store's cache files: who owns it, and which of its files may be trusted.
///
/// One daemon owns a folder, by flock; a second one takes a folder of its own beside it. Files that
/// were written since the machine started, or before a clean unmount, hold what was written to
/// them; after a crash of the machine each piece is verified when it is first read. Each record
/// carries the generation in which it was written, and the folder says from which generation on
/// records are trusted.
import CEngineShim
import Crypto
import Formats
import Glibc
import Logging
import Posix
import SystemPackage

final class CacheFolder: Sendable {
  /// The folder's files, reached by its descriptor: another folder at its path changes nothing.
  let files: PrivateFolder
  /// As it was written when this mount began.
  private let state: FolderState
  /// What new records are stamped with; never 0, which stands for "no record".
  var generation: UInt32 { state.generation }
  /// Records of these generations need no check.
  var trusted: ClosedRange<UInt32> { state.trusted }
  /// The file system keeps extended attributes: small objects carry their record in one.
  let keepsAttributes: Bool
  private let lock: OwnedDescriptor
  private let identity: String

  /// Folders that daemons on one store may have beside each other.
  private static let maxOwners = 16

  /// Where it was when it was opened, for messages.
  var path: String { files.path }

  /// Claims the folder for `store` under `root`, creating it (0700). `root` and its parents must be safe from other
  /// users, see `PrivateFolder.open`.
  init(root: String, store: String, log: Logger) throws(EngineError) {
    let top: PrivateFolder
    do throws(PrivateFolder.Problem) { top = try PrivateFolder.open(root) } catch {
      throw EngineError("cannot use the cache directory \(root): \(error); see --cache-dir")
    }
    identity = Self.hash(of: store)
    let base = Self.folderName(of: store)
    Self.adoptOldName(of: store, as: base, in: top)
    var claimed: Claim?
    for number in 1...Self.maxOwners where claimed == nil {
      let name = number == 1 ? base : "\(base).\(number)"
      claimed = try Self.claim(name, in: top, of: store, identity, log)
    }
    guard let claim = claimed.take() else {
      throw EngineError(
        "\(top.path)/\(base): \(Self.maxOwners) mounts already use the cache of this store; "
          + "give this mount its own --cache-dir")
    }
    files = claim.files
    lock = claim.lock
    keepsAttributes = fsetxattr(lock.raw, SmallRecord.attributeName, "probe", 5, 0) == 0

    let old = claim.state
    state = FolderState(
      after: old, boot: Self.bootID(), now: UInt32(clamping: time(nil)), store: identity)
    if old != nil, state.trustedFrom == state.generation {
      log.notice(
        "\(files.path): the machine stopped without an unmount; cached blocks are verified when they are read"
      )
    }
    try write(state)
    for name in files.names(in: "tmp") { files.remove("tmp/\(name)") }
  }

  func name(of id: FileID) -> String { "objects/\(id.folder)/\(id.name)" }
  func sidecarName(of id: FileID) -> String { name(of: id) + ".pieces" }
  func temporaryName(of id: FileID) -> String { "tmp/\(id.name)" }

  /// Makes the sub-folder of a file that is about to be created.
  func makeParent(of id: FileID) { try? files.makeFolder("objects/\(id.folder)") }

  /// Gives the folder up. True: what was written is on the disk, and the next start trusts it, whatever happens to the
  /// machine between. False: that took longer than `limit`. Then the next start trusts it unless the machine
  /// stops without writing it.
  @discardableResult func release(within limit: Duration = .seconds(10)) -> Bool {
    defer { flock(lock.raw, LOCK_UN) }
    guard millrace_syncfs_within(lock.raw, CInt(clamping: limit.milliseconds)) == 0 else {
      return false
    }
    var state = state
    state.isClean = true
    try? write(state)
    return true
  }

  private func write(_ state: FolderState) throws(EngineError) {
    do throws(Errno) {
      let file = try files.create("state.new")
      let text = Array(state.text.utf8)
      guard Glibc.write(file.raw, text, text.count) == text.count, fsync(file.raw) == 0 else {
        throw .last
      }
      try files.rename("state.new", to: "state")
      // The name as well: records of this generation must not meet the state of the one before.
      guard fsync(files.raw) == 0 else { throw .last }
    } catch {
      throw EngineError("cannot write to the cache directory \(path): \(error)")
    }
  }

  // MARK: Claiming

  private struct Claim: ~Copyable {
    var files: PrivateFolder
    var lock: OwnedDescriptor
    var state: FolderState?
  }

  /// nil: another daemon has it, or it is not to be trusted.
  private static func claim(
    _ name: String, in top: PrivateFolder, of store: String, _ identity: String, _ log: Logger
  ) throws(EngineError) -> Claim? {
    let files: PrivateFolder
    do throws(PrivateFolder.Problem) {
      files = try top.folder(name)
    } catch {
      switch error {
      case .system(_, .notDirectory), .system(_, .tooManySymbolicLinkLevels), .untrusted:
        log.warning("\(top.path)/\(name) is not used: \(error); remove it")
        return nil
      case .system: throw EngineError("cannot make the cache directory \(error); see --cache-dir")
      }
    }
    do throws(Errno) {
      for folder in ["objects", "tmp"] { try files.makeFolder(folder) }
    } catch {
      throw EngineError("cannot write to the cache directory \(files.path): \(error)")
    }
    if let found = stranger(in: files) {
      log.warning(
        "\(files.path) is not used: other users own \(found) in it or can write to it; remove the directory"
      )
      return nil
    }
    guard let lock = try lock(files) else {
      log.warning(
        "another mount uses the cache of \(store) in \(files.path); this one keeps its own copy")
      return nil
    }
    let state = FolderState(bytes: files.read("state", limit: 1024) ?? [])
    if let owner = state?.store, owner != identity {
      log.warning("\(files.path) is not used: it is the cache of another store; remove it")
      return nil
    }
    return Claim(files: files, lock: lock, state: state)
  }

  /// A sub-folder that others could have filled. Looked at once: from here on only this user can make one.
  private static func stranger(in files: PrivateFolder) -> String? {
    for folder in ["objects", "tmp"] where !files.isPrivate(folder) { return folder }
    for name in files.names(in: "objects").map({ "objects/\($0)" }) where !files.isPrivate(name) {
      // A link would lead elsewhere; nothing but folders is kept here.
      guard let status = files.status(of: name), status.st_mode & S_IFMT != S_IFDIR,
        files.remove(name)
      else { return name }
    }
    return nil
  }

  private static func lock(_ files: PrivateFolder) throws(EngineError) -> OwnedDescriptor? {
    let file: OwnedDescriptor
    do throws(Errno) { file = try files.openOrCreate("lock") } catch {
      throw EngineError("cannot write to the cache directory: \(files.path)/lock: \(error)")
    }
    if flock(file.raw, LOCK_EX | LOCK_NB) == 0 { return file }
    let reason = Errno.last
    if reason == .wouldBlock { return nil }
    throw EngineError(
      "cannot lock \(files.path)/lock: \(reason); the cache directory needs a local disk")
  }

  /// Older versions named folders by a shorter hash: what such a one holds is kept.
  private static func adoptOldName(of store: String, as name: String, in top: PrivateFolder) {
    let old = readableName(of: store) + "-" + hash(of: store).prefix(8)
    guard top.status(of: name) == nil, top.status(of: old) != nil,
      let files = try? top.folder(old), let lock = try? Self.lock(files)
    else { return }
    try? top.rename(old, to: name)
    flock(lock.raw, LOCK_UN)
  }

  /// Readable, safe as a file name, and unique by 128 bits of a hash: a store cannot choose an address that shares the
  /// folder of another.
  static func folderName(of store: String) -> String {
    readableName(of: store) + "-" + hash(of: store).prefix(32)
  }

  private static func readableName(of store: String) -> String {
    String(
      store.utf8.prefix(60).map { byte -> Character in
        let scalar = Character(UnicodeScalar(byte))
        return scalar.isASCII
          && (scalar.isLetter || scalar.isNumber || scalar == "." || scalar == "-")
          ? scalar : "_"
      })
  }

  /// SHA-256, hexadecimal.
  private static func hash(of store: String) -> String {
    Hex.encode(SHA256.hash(data: Array(store.utf8)))
  }

  /// Of this start of the machine; `nil` where the kernel does not say.
  private static func bootID() -> String? {
    readSmallFile("/proc/sys/kernel/random/boot_id")?.split(separator: "\n").first.map(String.init)
  }
}
