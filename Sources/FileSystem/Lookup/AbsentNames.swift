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
  private var folders: [ObjectKey: [[UInt8]: Instant]] = [:]
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
    _ name: [UInt8], in folder: ObjectKey, until end: Instant, now: Instant
  ) -> Bool {
    if let known = folders[folder]?[name] {
      folders[folder]![name] = max(known, end)
      return true
    }
    let size = Self.cost + name.count
    if count >= limit || bytes + size > byteLimit, now >= sweepFrom { sweep(now) }
    guard count < limit, bytes + size <= byteLimit else { return false }
    folders[folder, default: [:]][name] = end
    count += 1
    bytes += size
    sweepFrom = min(sweepFrom, end)
    return true
  }

  /// Takes out a single name. False: the kernel does not know it as absent.
  mutating func take(_ name: [UInt8], in folder: ObjectKey) -> Bool {
    guard folders[folder]?.removeValue(forKey: name) != nil else { return false }
    if folders[folder]!.isEmpty { folders[folder] = nil }
    count -= 1
    bytes -= Self.cost + name.count
    return true
  }

  /// Takes out those of a folder that `isMeant`.
  mutating func take(in folder: ObjectKey, where isMeant: ([UInt8]) -> Bool) -> [[UInt8]] {
    guard let names = folders[folder] else { return [] }
    return names.keys.filter { isMeant($0) && take($0, in: folder) }
  }

  /// Takes out those of all folders that `isMeant`.
  mutating func take(
    where isMeant: (ObjectKey) -> Bool
  ) -> [(folder: ObjectKey, names: [[UInt8]])] {
    folders.keys.filter(isMeant).map { ($0, take(in: $0) { _ in true }) }
  }

  private mutating func sweep(_ now: Instant) {
    var earliest = Instant.distantFuture
    for (folder, names) in folders {
      for (name, end) in names {
        if end <= now { _ = take(name, in: folder) } else { earliest = min(earliest, end) }
      }
    }
    sweepFrom = max(earliest, now + Self.sweepInterval)
  }
}
