import Glibc
import Posix

/// What the machine, or the cgroup this runs in, has to give.
enum Machine {
  /// Bytes of RAM, or the cgroup's limit where that is less.
  static func memory() -> UInt64 { min(ram(), cgroupLimit() ?? .max) }

  static func ram() -> UInt64 {
    UInt64(max(sysconf(Int32(_SC_PHYS_PAGES)), 1)) * UInt64(max(sysconf(Int32(_SC_PAGESIZE)), 4096))
  }

  /// The least limit from this process's cgroup up to the root, version 2 or 1; nil without one.
  static func cgroupLimit(
    cgroups: String? = readSmallFile("/proc/self/cgroup"),
    read: (String) -> String? = { readSmallFile($0) }
  ) -> UInt64? {
    var least: UInt64?
    for line in (cgroups ?? "").split(separator: "\n") {
      let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      guard fields.count == 3 else { continue }
      let (base, file): (String, String)
      if fields[1].isEmpty {
        (base, file) = ("/sys/fs/cgroup", "memory.max")
      } else if fields[1].split(separator: ",").contains("memory") {
        (base, file) = ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
      } else {
        continue
      }
      var path = fields[2]
      while true {
        let text = read("\(base)\(path == "/" ? "" : path)/\(file)")
        // Version 1 says "no limit" with a number near 2^63.
        if let value = text.flatMap({ UInt64($0.filter(\.isNumber)) }), value < 1 << 60 {
          least = min(least ?? .max, value)
        }
        guard let slash = path.lastIndex(of: "/"), path != "/" else { break }
        path = slash == path.startIndex ? "/" : path[..<slash]
      }
    }
    return least
  }

  struct Disk {
    var size: UInt64
    /// What this user may still fill.
    var free: UInt64
  }

  static func disk(of path: String) -> Disk? {
    var status = statvfs()
    guard statvfs(path, &status) == 0 else { return nil }
    let block = UInt64(status.f_frsize)
    return Disk(size: UInt64(status.f_blocks) * block, free: UInt64(status.f_bavail) * block)
  }

  /// As many open files as the administrator allows: each file that a program holds open takes one or
  /// two descriptors here.
  static func raiseDescriptorLimit() {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
    limit.rlim_cur = limit.rlim_max
    setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
  }

  /// Bit 21 of the effective capabilities: backing files for passthrough need it.
  static func hasSysAdmin() -> Bool {
    let line = (readSmallFile("/proc/self/status") ?? "").split(separator: "\n").first {
      $0.hasPrefix("CapEff:")
    }
    guard let digits = line?.split(whereSeparator: \.isWhitespace).last,
      let set = UInt64(digits, radix: 16)
    else { return false }
    return set & (1 << 21) != 0
  }
}
