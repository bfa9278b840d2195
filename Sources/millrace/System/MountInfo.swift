import Glibc
import Posix

/// /proc/self/mountinfo: asking a mount point itself (stat) may wait for a daemon that is gone.
struct MountInfo {
  struct Entry: Equatable {
    var path: String
    var type: String
    var source: String
    /// Who mounted it, for FUSE.
    var user: UInt32?
    /// The minor number of its device, which names a FUSE connection.
    var minor: UInt32? = nil
    /// The kernel's number of this mount.
    var identifier: Int? = nil
    /// "MAJOR:MINOR", which names a block device.
    var device = ""
    var isOurs: Bool { type == "fuse.millrace" }
  }

  var entries: [Entry]

  /// All of it, however many mounts users make.
  static func current() -> MountInfo {
    MountInfo(readSmallFile("/proc/self/mountinfo", atMost: 256 << 20) ?? "")
  }

  /// Lines as in proc(5): `36 35 98:0 /root /mount/point options... - type source superoptions`.
  init(_ text: String) {
    entries = text.utf8.split(separator: UInt8(ascii: "\n")).compactMap { line in
      let fields = line.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false).map(
        Array.init)
      guard fields.count > 6, let dash = fields.firstIndex(of: [UInt8(ascii: "-")]), dash >= 6,
        dash + 2 < fields.count
      else { return nil }
      let options = dash + 3 < fields.count ? String(decoding: fields[dash + 3], as: UTF8.self) : ""
      let user = options.split(separator: ",").first { $0.hasPrefix("user_id=") }
      return Entry(
        path: MountInfo.unescape(fields[4]),
        type: String(decoding: fields[dash + 1], as: UTF8.self),
        source: MountInfo.unescape(fields[dash + 2]),
        user: user.flatMap { UInt32($0.dropFirst(8)) },
        minor: fields[2].split(separator: UInt8(ascii: ":")).last.flatMap {
          UInt32(String(decoding: $0, as: UTF8.self))
        },
        identifier: Int(String(decoding: fields[0], as: UTF8.self)),
        device: String(decoding: fields[2], as: UTF8.self))
    }
  }

  /// The kernel's number of the mount that is seen at `path`, which is not followed if it is a link. Its daemon is not
  /// asked. Nil: nothing is there.
  static func identifier(ofMountAt path: String) -> Int? {
    let file = open(path, openPathOnly | O_NOFOLLOW | O_CLOEXEC)
    guard file >= 0 else { return nil }
    defer { close(file) }
    let line = readSmallFile("/proc/self/fdinfo/\(file)")?.split(separator: "\n")
      .first { $0.hasPrefix("mnt_id:") }
    guard let line else { return nil }
    return Int(line.filter(\.isNumber))
  }

  /// What a path walk finds there: the last one mounted.
  func topmost(at path: String) -> Entry? {
    entries.last { $0.path.utf8.elementsEqual(path.utf8) }
  }

  /// The mount that a folder lies on; `path` is absolute and without links.
  func mount(holding path: String) -> Entry? {
    let candidates = entries.filter {
      $0.path == "/" || path == $0.path || path.hasPrefix($0.path + "/")
    }
    // Of mounts at the same path the last one is seen.
    return candidates.reduce(nil) { best, entry in
      best.map { $0.path.utf8.count > entry.path.utf8.count } == true ? best : entry
    }
  }

  /// Blanks, tabs, newlines and backslashes are written as three octal digits.
  private static func unescape(_ field: [UInt8]) -> String {
    var bytes: [UInt8] = []
    var index = 0
    while index < field.count {
      if field[index] == UInt8(ascii: "\\"), index + 3 < field.count,
        let code = UInt8(
          String(decoding: field[(index + 1)...(index + 3)], as: UTF8.self), radix: 8)
      {
        bytes.append(code)
        index += 4
      } else {
        bytes.append(field[index])
        index += 1
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
