import Glibc
import TestSupport

/// What a daemon, with its children, has used.
struct ProcessUsage {
  var cpuSeconds = 0.0
  /// Bytes, of the largest of them.
  var peakResident = 0
  var resident = 0

  init(of pid: pid_t?) {
    guard let pid else { return }
    for member in Self.family(of: pid) {
      guard let text = try? readText("/proc/\(member)/stat"), let end = text.lastIndex(of: ")")
      else {
        continue
      }
      let fields = text[end...].split(separator: " ")
      // utime and stime are the 14th and 15th; the name and its ")" are the second.
      if fields.count > 13, let user = Double(fields[12]), let system = Double(fields[13]) {
        cpuSeconds += (user + system) / Double(sysconf(CInt(_SC_CLK_TCK)))
      }
      let status = (try? readText("/proc/\(member)/status")) ?? ""
      peakResident = max(peakResident, Self.kibibytes("VmHWM:", status) << 10)
      resident += Self.kibibytes("VmRSS:", status) << 10
    }
  }

  private static func kibibytes(_ name: String, _ status: String) -> Int {
    guard let line = status.split(separator: "\n").first(where: { $0.hasPrefix(name) }) else {
      return 0
    }
    return Int(line.split(whereSeparator: { $0 == " " || $0 == "\t" })[1]) ?? 0
  }

  private static func family(of pid: pid_t) -> [pid_t] {
    // Each thread has the children that it started.
    let threads = (try? namesIn("/proc/\(pid)/task")) ?? []
    let children = threads.flatMap { thread -> [pid_t] in
      let name = String(decoding: thread, as: UTF8.self)
      let text = (try? readText("/proc/\(pid)/task/\(name)/children")) ?? ""
      return text.split(separator: " ").compactMap { pid_t($0.filter(\.isNumber)) }
    }
    return [pid] + children.flatMap { family(of: $0) }
  }
}

/// The machine's own state between measurements.
enum Machine {
  /// Empties the page cache of the whole machine (root); false where that is not allowed.
  @discardableResult static func dropPageCache() -> Bool {
    sync()
    let file = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC)
    guard file >= 0 else { return false }
    defer { close(file) }
    return write(file, "3", 1) == 1
  }

  /// Bytes that came from disks since the machine started.
  static var bytesReadFromDisk: Int {
    let text = (try? readText("/proc/vmstat")) ?? ""
    guard let line = text.split(separator: "\n").first(where: { $0.hasPrefix("pgpgin ") }) else {
      return 0
    }
    return (Int(line.split(separator: " ")[1]) ?? 0) << 10
  }

  /// Touches and frees memory. On a virtual machine, a page that the host has to provide costs six times
  /// one that was used before, and the first program measured would pay for all of them.
  static func warmMemory(_ bytes: Int) {
    guard let region = mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
      region != MAP_FAILED
    else { return }
    for offset in stride(from: 0, to: bytes, by: 4096) {
      region.storeBytes(of: 1, toByteOffset: offset, as: UInt8.self)
    }
    munmap(region, bytes)
  }
}
