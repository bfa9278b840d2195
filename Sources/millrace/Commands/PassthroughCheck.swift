import FuseFrontEnd

/// Whether passthrough would be on, and if not, what it needs. A mount that meets another obstacle (a file system under
/// the cache that cannot do it) says so in `millrace stats --all`.
struct PassthroughCheck {
  /// As in /proc/sys/kernel/osrelease.
  var kernel: String
  var hasSysAdmin: Bool
  var hasCacheFolder: Bool
  var isTurnedOff: Bool

  /// The first obstacle; nil: there is none.
  var obstacle: String? {
    if isTurnedOff { return "--no-passthrough" }
    if !hasCacheFolder { return "it needs a cache on disk (--cache-dir)" }
    guard let version = Self.version(of: kernel), version >= (6, 9) else {
      return "it needs Linux 6.9 or newer"
    }
    return hasSysAdmin ? nil : "it needs CAP_SYS_ADMIN (root, or --cap-add SYS_ADMIN)"
  }

  /// A mount without it works the same, slower.
  var finding: Finding {
    if let obstacle {
      return Finding(grade: .info, what: "passthrough", detail: "off: \(obstacle)")
    }
    return Finding(
      grade: .ok, what: "passthrough",
      detail:
        "on: the kernel reads cached files directly (interface \(FuseFrontEnd.passthroughInterface))"
    )
  }

  static func version(of kernel: String) -> (Int, Int)? {
    let parts = kernel.split(whereSeparator: { !$0.isNumber }).prefix(2).compactMap { Int($0) }
    return parts.count == 2 ? (parts[0], parts[1]) : nil
  }
}
