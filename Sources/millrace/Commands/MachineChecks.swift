import FuseFrontEnd
import Glibc
import Posix

/// What doctor checks without a source.
enum MachineChecks {
  static func all(_ settings: Settings) -> [Finding] {
    [
      kernel(), device(), rights(), library(), passthrough(settings), others(settings),
      cache(settings), memory(settings), clock(),
    ]
  }

  private static var release: String {
    (readSmallFile("/proc/sys/kernel/osrelease") ?? "unknown").filter { !$0.isNewline }
  }

  private static func kernel() -> Finding {
    let release = release
    guard let version = PassthroughCheck.version(of: release) else {
      return Finding(grade: .warn, what: "kernel", detail: release)
    }
    return version < (4, 20)
      ? Finding(grade: .fail, what: "kernel", detail: release, advice: "4.20 or newer is needed")
      : Finding(grade: .ok, what: "kernel", detail: release)
  }

  private static func passthrough(_ settings: Settings) -> Finding {
    PassthroughCheck(
      kernel: release, hasSysAdmin: Machine.hasSysAdmin(),
      hasCacheFolder: settings.cache.folder != nil, isTurnedOff: settings.serving.noPassthrough
    ).finding
  }

  private static func device() -> Finding {
    do throws(Failure) {
      try MountChecks.device()
      return Finding(grade: .ok, what: "/dev/fuse", detail: "can be opened")
    } catch {
      return Finding(grade: .fail, what: "/dev/fuse", detail: error.description)
    }
  }

  private static func rights() -> Finding {
    let helper = (settingsPath() + ["/usr/bin", "/bin"]).map { folder -> String in
      "\(folder)/fusermount3"
    }.first {
      access($0, Int32(X_OK)) == 0
    }
    if Machine.hasSysAdmin() {
      return Finding(grade: .ok, what: "rights", detail: "may mount (CAP_SYS_ADMIN)")
    }
    guard let helper else {
      return Finding(
        grade: .fail, what: "rights", detail: "not root, and no fusermount3",
        advice: "install the package fuse3")
    }
    var status = stat()
    if stat(helper, &status) == 0, status.st_mode & S_ISUID == 0 || geteuid() == 0 {
      return Finding(
        grade: .fail, what: "rights", detail: "no CAP_SYS_ADMIN, and \(helper) is not setuid root",
        advice: "in a container: --cap-add SYS_ADMIN; elsewhere make \(helper) setuid root")
    }
    return Finding(grade: .ok, what: "rights", detail: "mounts through \(helper)")
  }

  private static func settingsPath() -> [String] {
    (processEnvironment()["PATH"] ?? "").split(separator: ":").map(String.init)
  }

  private static func library() -> Finding {
    Finding(grade: .ok, what: "libfuse", detail: FuseLibrary.version)
  }

  private static func others(_ settings: Settings) -> Finding {
    let allowed = (readSmallFile("/etc/fuse.conf") ?? "").split(separator: "\n").contains {
      $0.filter { !$0.isWhitespace } == "user_allow_other"
    }
    if allowed || geteuid() == 0 {
      return Finding(
        grade: .ok, what: "other users", detail: "--allow-other lets them read a mount")
    }
    return Finding(
      grade: settings.presentation.allowOther ? .fail : .info, what: "other users",
      detail: "--allow-other is not permitted", advice: "add user_allow_other to /etc/fuse.conf")
  }

  private static func cache(_ settings: Settings) -> Finding {
    guard let folder = settings.cache.folder else {
      return Finding(
        grade: .warn, what: "cache",
        detail: "no cache on disk: what does not fit in memory is fetched again each epoch")
    }
    do throws(Failure) {
      let path = try MountChecks.cacheFolder(folder)
      guard let disk = Machine.disk(of: path) else {
        return Finding(grade: .warn, what: "cache", detail: "\(path): \(systemMessage())")
      }
      return cache(path, disk, settings)
    } catch {
      return Finding(grade: .fail, what: "cache", detail: error.description)
    }
  }

  private static func cache(
    _ path: String, _ disk: Machine.Disk, _ settings: Settings
  ) -> Finding {
    let found = CacheDisk.current(of: path)
    // What is cached already comes on top: `millrace stats` of a mount has it.
    let floor = settings.cache.minFree.resolved(of: disk.size)
    let growth = min(
      settings.cache.size.resolved(of: disk.size), disk.free.subtractingSaturated(floor))
    let detail =
      "\(path) \(found.map { $0.place + ", " } ?? "")\(ByteSize.show(disk.free)) free of \(ByteSize.show(disk.size)); "
      + "the cache can grow by \(ByteSize.show(growth)), as \(ByteSize.show(floor)) stay free"
    if growth == 0 {
      return Finding(
        grade: .warn, what: "cache", detail: detail,
        advice: "free some space, or choose another --cache-dir")
    }
    if let faster = found?.faster {
      return Finding(
        grade: .warn, what: "cache", detail: detail,
        advice:
          "\(faster.mountPoint) is a faster local disk with \(ByteSize.show(faster.free)) free: "
          + "--cache-dir \(faster.mountPoint)/millrace")
    }
    switch found?.weakness {
    case .network:
      return Finding(
        grade: .warn, what: "cache", detail: detail, advice: "choose a local disk with --cache-dir")
    case .rotational, .root: return Finding(grade: .info, what: "cache", detail: detail)
    case nil: return Finding(grade: .ok, what: "cache", detail: detail)
    }
  }

  private static func memory(_ settings: Settings) -> Finding {
    let group = Machine.cgroupLimit().map {
      $0 < Machine.ram() ? ", \(ByteSize.show($0)) in this cgroup" : ""
    }
    // Metadata, as much again for orders in force, and as much for those being written.
    let need =
      UInt64(settings.limits.memory + 3 * settings.limits.metadata + settings.answerLimit)
      + (64 << 20)
    let detail =
      "\(ByteSize.show(Machine.ram())) of RAM\(group ?? ""); a mount needs up to \(ByteSize.show(need))"
    return need > Machine.memory() / 2
      ? Finding(grade: .warn, what: "memory", detail: detail, advice: "lower --memory-limit")
      : Finding(grade: .ok, what: "memory", detail: detail)
  }

  private static func clock() -> Finding {
    // 2026-01-01, and 2100: a clock outside breaks signatures and certificates.
    (1_767_225_600...4_102_444_800).contains(time(nil))
      ? Finding(grade: .ok, what: "clock", detail: "plausible")
      : Finding(
        grade: .fail, what: "clock", detail: "the date is wrong",
        advice: "set the clock: timedatectl set-ntp true")
  }
}
