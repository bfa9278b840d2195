import Glibc
import Posix
import SystemPackage

/// The read-ahead of the mount in the kernel: 128 KiB unless root writes it into sysfs, which makes
/// the requests of a sequential reader as large as they can be, 1 MiB (measured: 1.7 times the
/// throughput at half the CPU; more gains nothing). INIT can only lower it.
enum ReadAheadSetting {
  static let kibibytes = 1024

  struct Outcome: Sendable, CustomStringConvertible {
    /// KiB in force, where sysfs tells.
    var kibibytes: Int?
    /// Why it is not what was wanted.
    var problem: String?

    var description: String {
      let size = kibibytes.map { "\($0) KiB" } ?? "kernel default"
      return problem.map { "\(size) (\($0))" } ?? size
    }
  }

  static func apply(to device: DeviceNumber?) -> Outcome {
    guard let device else { return Outcome(problem: "mount not found in /proc/self/mountinfo") }
    let path = "/sys/class/bdi/\(device)/read_ahead_kb"
    let problem = write("\(kibibytes)", to: path)
    let text = readSmallFile(path).map { $0.prefix { !$0.isWhitespace } }
    return Outcome(kibibytes: text.flatMap { Int($0) }, problem: problem)
  }

  /// Returns why it cannot be.
  private static func write(_ text: String, to path: String) -> String? {
    do throws(Errno) {
      let file = try OwnedDescriptor.open(path, O_WRONLY)
      let written = Array(text.utf8).withUnsafeBytes {
        Glibc.write(file.raw, $0.baseAddress, $0.count)
      }
      return written == text.utf8.count ? nil : "cannot set it: \(Errno.last)"
    } catch {
      return "cannot set it: \(error)"
    }
  }
}
