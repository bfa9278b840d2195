import ObjectStore
import Posix

/// What the limit of the cache and the free-space floor leave for cache files. Pure: it asks no file system.
///
/// Two bounds hold at once. What is in files, what is reserved and what stores download whole stays within the limit;
/// and of the free space of the disk, the floor and all that is promised and not written yet stays free.
struct SpaceBudget: Sendable, Equatable {
  /// Bytes of cache files and of files that stores download whole; `UInt64.max`: no limit.
  var limit: UInt64
  /// Bytes that stay free on the disk.
  var floor: UInt64

  /// What counts against the budget, bytes.
  struct Use: Sendable, Equatable {
    /// On disk (st_blocks).
    var inFiles: UInt64 = 0
    /// Promised to planned fetches and not written yet.
    var reserved: UInt64 = 0
    /// Of files that stores download whole.
    var spool = SpoolAllowance.Use()
  }

  /// What the file system says.
  struct FreeSpace: Sendable, Equatable {
    /// Bytes that this user may still write.
    var bytes: UInt64
    /// It counts inodes and has too few left.
    var lacksInodes = false
  }

  /// What has to go before something can be written.
  struct Shortage: Sendable, Equatable {
    var bytes: UInt64 = 0
    /// It is the disk that lacks space, not the cache: whatever may go is evicted, enough or not.
    var isOfDisk = false
  }

  /// What has to go before `bytes` more can be written, of which `covered` are in `use.reserved` already. `free` nil:
  /// the file system does not say, the limit alone counts.
  func shortage(
    of bytes: UInt64, covered: UInt64, _ use: Use, free: FreeSpace?
  ) -> Shortage {
    let used = use.inFiles.addingSaturated(use.spool.reserved)
    let coming = use.reserved.addingSaturated(bytes).subtractingSaturated(covered)
    let overLimit = used.addingSaturated(coming).subtractingSaturated(limit)
    guard let free else { return Shortage(bytes: overLimit) }
    let wanted = coming.addingSaturated(floor).addingSaturated(use.spool.unwritten)
    let underFloor = wanted.subtractingSaturated(free.bytes)
    // Any one file that goes frees an inode.
    return Shortage(
      bytes: max(overLimit, underFloor, free.lacksInodes ? 1 : 0), isOfDisk: underFloor > overLimit)
  }

  /// Whether `bytes` more stay within the limit. The floor is not looked at: that is a system call.
  func isWithinLimit(adding bytes: UInt64, _ use: Use) -> Bool {
    use.inFiles.addingSaturated(use.reserved).addingSaturated(use.spool.reserved)
      .addingSaturated(bytes) <= limit
  }

  /// What may be written without anything having to go, bytes.
  func available(_ use: Use, free: FreeSpace?) -> UInt64 {
    let taken = use.inFiles.addingSaturated(use.reserved).addingSaturated(use.spool.reserved)
    let kept = floor.addingSaturated(use.reserved).addingSaturated(use.spool.unwritten)
    return min(
      limit.subtractingSaturated(taken), (free?.bytes ?? .max).subtractingSaturated(kept))
  }

  /// What cache files can occupy in the end: the limit, or what is there and what the floor leaves of the free space,
  /// bytes.
  func reachable(inFiles: UInt64, free: FreeSpace?) -> UInt64 {
    guard let free else { return limit }
    return min(limit, inFiles.addingSaturated(free.bytes.subtractingSaturated(floor)))
  }
}
