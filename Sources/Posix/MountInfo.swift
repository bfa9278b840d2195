import Glibc

/// A device number as the kernel writes it, "0:52".
public struct DeviceNumber: Hashable, Sendable, CustomStringConvertible {
  public var major: UInt32
  /// Of a FUSE mount, it names the connection as well.
  public var minor: UInt32

  public init(major: UInt32, minor: UInt32) {
    self.major = major
    self.minor = minor
  }

  public init?(_ text: some StringProtocol) {
    let parts = text.split(separator: ":")
    guard parts.count == 2, let major = UInt32(parts[0]), let minor = UInt32(parts[1]) else {
      return nil
    }
    self.init(major: major, minor: minor)
  }

  public var description: String { "\(major):\(minor)" }
}

/// What is mounted where, from /proc/self/mountinfo (proc(5)): asking a mount point itself (stat) may wait for a daemon
/// that is gone, or that is this process.
public struct MountInfo: Sendable {
  public struct Entry: Equatable, Sendable {
    /// The mount point.
    public var path: String
    /// As "ext4" or "fuse.millrace".
    public var type: String
    public var source: String
    /// Who mounted it, for FUSE.
    public var user: UInt32?
    public var device: DeviceNumber
    /// The kernel's number of this mount.
    public var identifier: Int?

    public init(
      path: String, type: String, source: String, user: UInt32? = nil, device: DeviceNumber,
      identifier: Int? = nil
    ) {
      self.path = path
      self.type = type
      self.source = source
      self.user = user
      self.device = device
      self.identifier = identifier
    }
  }

  /// In the kernel's order: of mounts at the same path the last one is seen.
  public var entries: [Entry]

  /// All of it, however many mounts users make.
  public static func current() -> MountInfo {
    MountInfo((try? readSmallBytes("/proc/self/mountinfo", atMost: 256 << 20)) ?? [])
  }

  /// Lines of the form `36 35 98:0 /root /mount/point options... - type source superoptions`; others are left out.
  public init(_ text: some Sequence<UInt8>) {
    entries = Array(text).split(separator: UInt8(ascii: "\n")).compactMap(Self.entry)
  }

  private static func entry(_ line: ArraySlice<UInt8>) -> Entry? {
    let fields = line.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
    guard fields.count > 6, let dash = fields.firstIndex(of: [UInt8(ascii: "-")]), dash >= 6,
      dash + 2 < fields.count,
      let device = DeviceNumber(String(decoding: fields[2], as: UTF8.self))
    else { return nil }
    let options = dash + 3 < fields.count ? String(decoding: fields[dash + 3], as: UTF8.self) : ""
    let user = options.split(separator: ",").first { $0.hasPrefix("user_id=") }
    return Entry(
      path: unescape(fields[4]), type: String(decoding: fields[dash + 1], as: UTF8.self),
      source: unescape(fields[dash + 2]), user: user.flatMap { UInt32($0.dropFirst(8)) },
      device: device, identifier: Int(String(decoding: fields[0], as: UTF8.self)))
  }

  /// The kernel's number of the mount that is seen at `path`, which is not followed if it is a link. Its daemon is not
  /// asked. Nil: nothing is there.
  public static func identifier(ofMountAt path: String) -> Int? {
    guard let file = try? OwnedDescriptor.open(path, openPathOnly | O_NOFOLLOW) else { return nil }
    let line = readSmallFile("/proc/self/fdinfo/\(file.raw)")?.split(separator: "\n")
      .first { $0.hasPrefix("mnt_id:") }
    return line.flatMap { Int($0.filter(\.isNumber)) }
  }

  /// What a path walk finds there: the last one mounted.
  public func topmost(at path: String) -> Entry? {
    entries.last { $0.path.utf8.elementsEqual(path.utf8) }
  }

  /// The mount that a directory lies on; `path` is absolute and without links.
  public func mount(holding path: String) -> Entry? {
    let candidates = entries.filter {
      $0.path == "/" || path == $0.path || path.hasPrefix($0.path + "/")
    }
    return candidates.reduce(nil) { best, entry in
      best.map { $0.path.utf8.count > entry.path.utf8.count } == true ? best : entry
    }
  }

  /// Blanks, tabs, newlines and backslashes are written as three octal digits.
  private static func unescape(_ field: ArraySlice<UInt8>) -> String {
    var bytes: [UInt8] = []
    var rest = field
    while let byte = rest.popFirst() {
      let digits = rest.prefix(3)
      if byte == UInt8(ascii: "\\"), digits.count == 3,
        let code = UInt8(String(decoding: digits, as: UTF8.self), radix: 8)
      {
        bytes.append(code)
        rest = rest.dropFirst(3)
      } else {
        bytes.append(byte)
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
