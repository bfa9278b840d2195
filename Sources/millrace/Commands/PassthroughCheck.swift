import FuseFrontEnd

/// Whether the kernel would read cache files by itself, and if not, what is missing. A mount that
/// meets another obstacle (an odd file system under the cache) says so in `millrace stats`.
struct PassthroughCheck {
  /// As in /proc/sys/kernel/osrelease.
  var kernel: String
  var hasSysAdmin: Bool
  var hasCacheFolder: Bool
  var isTurnedOff: Bool

  /// The first obstacle; nil: there is none.
  var obstacle: String? {
    if isTurnedOff { return "--no-passthrough" }
    if !hasCacheFolder { return "there is no cache on disk" }
    guard let version = Self.version(of: kernel), version >= (6, 9) else {
      return "it takes Linux 6.9 or newer"
    }
    return hasSysAdmin ? nil : "it takes CAP_SYS_ADMIN (root, or --cap-add SYS_ADMIN)"
  }

  /// Never more than information: a mount without it works the same.
  var finding: Finding {
    Finding(
      grade: .ok, what: "passthrough",
      detail: obstacle.map { "no: \($0)" }
        ?? "yes: the kernel reads cached files by itself (asked for \(FuseFrontEnd.passthroughInterface))"
    )
  }

  static func version(of kernel: String) -> (Int, Int)? {
    let parts = kernel.split(whereSeparator: { !$0.isNumber }).prefix(2).compactMap { Int($0) }
    return parts.count == 2 ? (parts[0], parts[1]) : nil
  }
}
