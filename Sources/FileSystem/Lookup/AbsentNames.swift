import ObjectStore
import Posix

/// Names that were reported to the kernel as absent, and that it remembers until a time. A refresh, or a listing
/// that has the name, takes them out and has the kernel drop them.
///
/// Bounded: where there is no space, the kernel is not allowed to remember, and asks again each time. So there
/// is no absence in the kernel that is not known here.
struct AbsentNames {
  /// Names and bytes at most. A Python with a long sys.path asks for some thousand.
  private let limit: Int
  private let byteLimit: Int
  private var directories: [ObjectKey: [[UInt8]: Instant]] = [:]
  private(set) var count = 0
  private(set) var bytes = 0
  /// Nothing is over before, or it was looked for a moment ago.
  private var sweepFrom = Instant.distantFuture

  /// Bytes of an entry besides its name: two arrays' heads and a dictionary's slot.
  private static let cost = 120
  /// Between two looks through all of them for what is over.
  private static let sweepInterval = Duration.seconds(1)

  init(limit: Int = 65_536, byteLimit: Int = 16 << 20) {
    self.limit = limit
    self.byteLimit = byteLimit
  }

  /// False: there is no room; the kernel must not remember it.
  mutating func add(
    _ name: [UInt8], in directory: ObjectKey, until end: Instant, now: Instant
  ) -> Bool {
    if let known = directories[directory]?[name] {
      directories[directory]![name] = max(known, end)
      return true
    }
    let size = Self.cost + name.count
    if count >= limit || bytes + size > byteLimit, now >= sweepFrom { sweep(now) }
    guard count < limit, bytes + size <= byteLimit else { return false }
    directories[directory, default: [:]][name] = end
    count += 1
    bytes += size
    sweepFrom = min(sweepFrom, end)
    return true
  }

  /// Takes out a single name. False: the kernel does not know it as absent.
  mutating func remove(_ name: [UInt8], in directory: ObjectKey) -> Bool {
    guard directories[directory]?.removeValue(forKey: name) != nil else { return false }
    if directories[directory]!.isEmpty { directories[directory] = nil }
    count -= 1
    bytes -= Self.cost + name.count
    return true
  }

  /// Takes out those of a directory that `isMeant`.
  mutating func remove(in directory: ObjectKey, where isMeant: ([UInt8]) -> Bool) -> [[UInt8]] {
    guard let names = directories[directory] else { return [] }
    return names.keys.filter { isMeant($0) && remove($0, in: directory) }
  }

  /// Takes out those of all directories that `isMeant`.
  mutating func remove(
    where isMeant: (ObjectKey) -> Bool
  ) -> [(directory: ObjectKey, names: [[UInt8]])] {
    directories.keys.filter(isMeant).map { ($0, remove(in: $0) { _ in true }) }
  }

  private mutating func sweep(_ now: Instant) {
    var earliest = Instant.distantFuture
    for (directory, names) in directories {
      for (name, end) in names {
        if end <= now { _ = remove(name, in: directory) } else { earliest = min(earliest, end) }
      }
    }
    sweepFrom = max(earliest, now + Self.sweepInterval)
  }
}
