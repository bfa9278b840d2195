import Glibc

/// A device number as the kernel writes it, "0:52".
struct DeviceNumber: Equatable, Sendable, CustomStringConvertible {
  var major: UInt32
  var minor: UInt32

  init?(_ text: some StringProtocol) {
    let parts = text.split(separator: ":")
    guard parts.count == 2, let major = UInt32(parts[0]), let minor = UInt32(parts[1]) else {
      return nil
    }
    self.major = major
    self.minor = minor
  }

  var description: String { "\(major):\(minor)" }
}

/// What is mounted where, from /proc/self/mountinfo: asking the mount point itself (stat) would
/// wait for our own answer.
struct MountTable {
  struct Entry: Equatable {
    var device: DeviceNumber
    var mountPoint: String
    var type: String
  }

  var entries: [Entry]

  static func current() -> MountTable {
    MountTable(parsing: readFile("/proc/self/mountinfo") ?? [])
  }

  init(parsing text: [UInt8]) {
    entries = text.split(separator: UInt8(ascii: "\n")).compactMap { line in
      let fields = line.split(separator: UInt8(ascii: " "))
      // 36 35 98:0 /root /mount/point options... - type source options (proc(5))
      guard fields.count > 6, let dash = fields.firstIndex(of: [UInt8(ascii: "-")]),
        dash + 1 < fields.count,
        let device = DeviceNumber(String(decoding: fields[2], as: UTF8.self))
      else { return nil }
      return Entry(
        device: device, mountPoint: MountTable.unescape(fields[4]),
        type: String(decoding: fields[dash + 1], as: UTF8.self))
    }
  }

  /// What a path walk into `path` finds: the last one mounted there.
  func topmost(at path: String) -> Entry? {
    entries.last { $0.mountPoint.utf8.elementsEqual(path.utf8) }
  }

  /// Blanks, tabs, newlines and backslashes are written as three octal digits.
  private static func unescape(_ field: ArraySlice<UInt8>) -> String {
    var bytes: [UInt8] = []
    var index = field.startIndex
    while index < field.endIndex {
      let digits = field[index...].dropFirst().prefix(3)
      if field[index] == UInt8(ascii: "\\"), digits.count == 3,
        let code = UInt8(String(decoding: digits, as: UTF8.self), radix: 8)
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

/// The whole of a small file of /proc, /sys or /etc; nil if it cannot be read.
func readFile(_ path: String) -> [UInt8]? {
  let file = open(path, O_RDONLY | O_CLOEXEC)
  guard file >= 0 else { return nil }
  defer { close(file) }
  var bytes: [UInt8] = []
  var piece = [UInt8](repeating: 0, count: 16 << 10)
  while true {
    let count = read(file, &piece, piece.count)
    if count < 0 && errno == EINTR { continue }
    guard count > 0 else { return count == 0 ? bytes : nil }
    bytes += piece[..<count]
  }
}
