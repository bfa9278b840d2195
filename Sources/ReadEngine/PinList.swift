/// The pinned versions of a cache folder, in its file `pins`: a name of a cache file a line.
import Glibc
import Posix
import SystemPackage

enum PinList {
  static func read(_ path: String) -> [FileID] {
    guard let file = try? OwnedDescriptor.open(path, O_RDONLY) else { return [] }
    var bytes: [UInt8] = []
    var part = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      let count = Glibc.read(file.raw, &part, part.count)
      guard count > 0 else { break }
      bytes += part[..<count]
    }
    return bytes.split(separator: UInt8(ascii: "\n")).compactMap {
      FileID(name: String(decoding: $0, as: UTF8.self))
    }
  }

  /// Replaces the list; what was there stays if that fails.
  static func write(_ pins: Set<FileID>, to path: String) throws(Errno) {
    var text: [UInt8] = []
    text.reserveCapacity(pins.count * 33)
    for pin in pins {
      text += Array(pin.name.utf8)
      text.append(UInt8(ascii: "\n"))
    }
    let file = try OwnedFile(path + ".new", O_WRONLY | O_CREAT | O_TRUNC)
    try file.write(text, at: 0)
    guard fsync(file.raw) == 0, rename(path + ".new", path) == 0 else { throw Errno.last }
  }
}
