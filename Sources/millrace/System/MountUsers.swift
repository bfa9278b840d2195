import Glibc
import Posix

/// Processes that keep a mount busy, as far as this user may look: their open files and directories by the links of
/// /proc, none of which asks the mount itself.
enum MountUsers {
  struct User: Equatable {
    var pid: Int32
    /// Its command's name, up to 15 bytes.
    var name: String
  }

  static func find(below mountPoint: String, in proc: String = "/proc") -> [User] {
    names(in: proc).compactMap { Int32($0) }.sorted().compactMap { pid in
      guard pid != getpid(), uses("\(proc)/\(pid)", mountPoint) else { return nil }
      let name = readSmallFile("\(proc)/\(pid)/comm")?.filter { !$0.isNewline }
      return User(pid: pid, name: name ?? "?")
    }
  }

  /// A process of each other mount namespace that has the mount of this device as well. An unmount here leaves it
  /// there, and its daemon goes on.
  static func namespaces(withDevice device: DeviceNumber, in proc: String = "/proc") -> [User] {
    var seen: Set<String> = [target(of: "\(proc)/self/ns/mnt") ?? ""]
    return names(in: proc).compactMap { Int32($0) }.sorted().compactMap { pid in
      guard let namespace = target(of: "\(proc)/\(pid)/ns/mnt"), seen.insert(namespace).inserted,
        let table = try? readSmallBytes("\(proc)/\(pid)/mountinfo", atMost: 4 << 20),
        MountInfo(table).entries.contains(where: { $0.device == device && $0.isOurs })
      else { return nil }
      let name = readSmallFile("\(proc)/\(pid)/comm")?.filter { !$0.isNewline }
      return User(pid: pid, name: name ?? "?")
    }
  }

  private static func uses(_ process: String, _ mountPoint: String) -> Bool {
    let links =
      ["cwd", "root", "exe"].map { "\(process)/\($0)" }
      + names(in: "\(process)/fd").map { "\(process)/fd/\($0)" }
    return links.contains { link in
      guard let target = target(of: link) else { return false }
      return target == mountPoint || target.hasPrefix(mountPoint + "/")
    }
  }

  private static func target(of link: String) -> String? {
    var buffer = [UInt8](repeating: 0, count: 4096)
    let length = buffer.withUnsafeMutableBytes {
      readlink(link, $0.baseAddress!.assumingMemoryBound(to: CChar.self), $0.count)
    }
    return length > 0 ? String(decoding: buffer[..<length], as: UTF8.self) : nil
  }

  private static func names(in path: String) -> [String] {
    (directoryNames(path) ?? []).filter { !$0.hasPrefix(".") }
  }
}
