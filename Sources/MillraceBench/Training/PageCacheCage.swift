import Glibc
import Posix
import TestSupport

/// A cgroup whose page cache is held to a size: a node whose memory belongs to the training.
///
/// A cgroup's limit is one for all that its processes use, so it is set anew many times a second to what they
/// use besides the page cache, and the size on top.
final class PageCacheCage: Sendable {
  static let size = 64 << 20

  private let folder: String
  private let isVersion2: Bool
  private let isEnding = Lock(false)
  private let seen = Lock<[Int]>([])
  private let keeper = Lock<Posix.Thread?>(nil)

  private static let microseconds: UInt32 = 20_000

  /// Needs root, and a memory controller that may be used.
  init() throws {
    let name = "/millrace-bench-\(getpid())"
    if fileExists("/sys/fs/cgroup/cgroup.controllers") {
      isVersion2 = true
      folder = "/sys/fs/cgroup" + name
      try? writeFile("/sys/fs/cgroup/cgroup.subtree_control", "+memory".utf8)
    } else {
      isVersion2 = false
      folder = "/sys/fs/cgroup/memory" + name
    }
    guard mkdir(folder, 0o755) == 0, fileExists(folder + "/memory.stat") else {
      rmdir(folder)
      throw SupportError(
        "the page cache cannot be held: there is no memory cgroup to make in /sys/fs/cgroup")
    }
    // Where the limit came too low for a moment, wait for it to be raised.
    if !isVersion2 { try writeFile(folder + "/memory.oom_control", "1".utf8) }
    keeper.withLock { $0 = Posix.Thread(named: "cage") { [self] in keep() } }
  }

  /// What a command is put behind to run inside.
  var prefix: [String] {
    ["sh", "-c", "echo $$ >\(folder)/cgroup.procs && exec \"$@\"", "sh"]
  }

  /// The page cache that was seen inside since it was asked last: median and most, bytes.
  func takeSeen() -> (median: Int, most: Int) {
    let values = seen.withLock { values in
      defer { values = [] }
      return values.sorted()
    }
    return values.isEmpty ? (0, 0) : (values[values.count / 2], values.last!)
  }

  /// Everything inside must have ended.
  func end() {
    isEnding.withLock { $0 = true }
    keeper.withLock { $0 }?.join()
    _ = waitFor(within: .seconds(10)) { rmdir(folder) == 0 ? true : nil }
  }

  private func keep() {
    while !isEnding.withLock({ $0 }) {
      if let (used, cache) = usage() {
        seen.withLock { $0.append(cache) }
        let limit = max(0, used - cache) + Self.size
        try? writeFile(
          folder + (isVersion2 ? "/memory.high" : "/memory.limit_in_bytes"), "\(limit)".utf8)
      }
      usleep(Self.microseconds)
    }
  }

  private func usage() -> (used: Int, cache: Int)? {
    guard let stat = try? readText(folder + "/memory.stat"),
      let used = try? readText(
        folder + (isVersion2 ? "/memory.current" : "/memory.usage_in_bytes"))
    else { return nil }
    func value(_ name: String) -> Int {
      let line = stat.split(separator: "\n").first { $0.hasPrefix(name + " ") }
      return line.flatMap { Int($0.split(separator: " ")[1]) } ?? 0
    }
    // Shared memory is what workers hand their batches over in; it is no page cache.
    let cache =
      isVersion2 ? value("file") - value("shmem") : value("total_cache") - value("total_shmem")
    return (Int(used.filter(\.isNumber)) ?? 0, max(0, cache))
  }
}
