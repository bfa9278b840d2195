/// The pinned versions of a cache folder, in its file `pins`: a line each, the name of a cache file and the
/// hash of its key, both hexadecimal.
///
/// The hash tells which pin a later version of the object takes over. Lines of older versions have none.
import Crypto
import Glibc
import Logging
import ObjectStore
import Posix
import SystemPackage

enum PinList {
  /// Stands for the hash of a line that has none.
  static let unknownKey: UInt64 = 0
  /// Of a list that is read, bytes: five million pins. What is longer is not ours.
  private static let byteLimit = 256 << 20

  /// What tells a key from others.
  static func hash(of key: ObjectKey) -> UInt64 {
    SHA256.hash(data: key.bytes).withUnsafeBytes {
      UInt64(bigEndian: $0.loadUnaligned(as: UInt64.self))
    }
  }

  private static let name = "pins"

  static func read(_ folder: PrivateFolder) -> [(id: FileID, key: UInt64)] {
    guard let file = try? folder.open(name, O_RDONLY) else { return [] }
    var bytes: [UInt8] = []
    var part = [UInt8](repeating: 0, count: 1 << 16)
    while bytes.count < byteLimit {
      let count = Glibc.read(file.raw, &part, part.count)
      guard count > 0 else { break }
      bytes += part[..<count]
    }
    return bytes.split(separator: UInt8(ascii: "\n")).compactMap { line in
      let fields = line.split(separator: UInt8(ascii: " "))
      guard let name = fields.first, let id = FileID(name: String(decoding: name, as: UTF8.self))
      else { return nil }
      let key = fields.dropFirst().first.flatMap {
        UInt64(String(decoding: $0, as: UTF8.self), radix: 16)
      }
      return (id, key ?? unknownKey)
    }
  }

  /// Replaces the list; what was there stays if that fails.
  static func write(_ pins: [FileID: UInt64], to folder: PrivateFolder) throws(Errno) {
    var text: [UInt8] = []
    text.reserveCapacity(pins.count * 50)
    for (id, key) in pins {
      text += Array(id.name.utf8)
      if key != unknownKey { text += Array(" \(String(key, radix: 16))".utf8) }
      text.append(UInt8(ascii: "\n"))
    }
    let file = try OwnedFile { () throws(Errno) in try folder.create(name + ".new") }
    try file.write(text, at: 0)
    guard fsync(file.raw) == 0 else { throw Errno.last }
    try folder.rename(name + ".new", to: name)
  }
}

/// The list on disk. Its writers take turns: the last to write has the newest. No read waits for it.
final class PinFile: Sendable {
  private let folder: PrivateFolder
  private let log: Logger
  private let turn = Lock(())

  init(in folder: PrivateFolder, log: Logger) {
    self.folder = folder
    self.log = log
  }

  /// What the mount before had; empty if there is no list.
  func read() -> [(id: FileID, key: UInt64)] { PinList.read(folder) }

  /// Keeps what `pins` returns when it is this writer's turn, for the next mount.
  func save(_ pins: () -> [FileID: UInt64]) {
    turn.withLock { _ in
      let pins = pins()
      do throws(Errno) { try PinList.write(pins, to: folder) } catch {
        log.warning("\(folder.path)/pins: \(error); pins end with this mount")
      }
    }
  }
}
