import Glibc
import Posix

/// Disk space for files that a store has to download whole: of a server that ignores ranges.
///
/// It is part of the cache's allowance: the cache counts it against `--cache-size`, and makes room for it by eviction. Without
/// a cache the free-space floor alone bounds it.
public final class SpoolAllowance: Sendable {
  /// A folder of the disk that the files lie on.
  public let folder: String
  /// Bytes that stay free on that disk.
  private let floor: UInt64

  /// Space that is taken.
  public struct Use: Sendable, Equatable {
    /// Bytes reserved, written or not.
    public var reserved: UInt64 = 0
    /// Those of them that were not written yet: the disk still counts them as free.
    public var unwritten: UInt64 = 0
    public init() {}
  }

  private struct State {
    var use = Use()
    var makeRoom: Callback<UInt64, Bool>?
  }

  private let state = Lock(State())

  public init(folder: String, floor: UInt64? = nil) {
    self.folder = folder
    var status = statvfs()
    let size =
      statvfs(folder, &status) == 0 ? UInt64(status.f_blocks) * UInt64(status.f_frsize) : 0
    self.floor = floor ?? min(1 << 30, size / 20)
  }

  public var use: Use { state.withLock { $0.use } }

  /// The cache takes over what there is room for: the handler evicts until so many bytes more fit, beside what `use`
  /// says. False: they cannot. It is called without a lock.
  public func onShortage(_ handler: @escaping @Sendable (UInt64) -> Bool) {
    state.withLock { $0.makeRoom = Callback(handler) }
  }

  /// Nil: there is no room.
  public func reserve(_ bytes: UInt64) -> Reservation? {
    // It counts before space is looked for, or two that look at once would be given the same space.
    let isCounted = state.withLock { state in
      let (reserved, overflow) = state.use.reserved.addingReportingOverflow(bytes)
      if overflow { return false }
      state.use.reserved = reserved
      state.use.unwritten += bytes
      return true
    }
    guard isCounted else { return nil }
    let reservation = Reservation(self, bytes)
    let makeRoom = state.withLock { $0.makeRoom }
    return makeRoom.map { $0(0) } ?? hasFree() ? reservation : nil
  }

  /// The disk has space for what is reserved and not written.
  private func hasFree() -> Bool {
    var status = statvfs()
    guard statvfs(folder, &status) == 0 else { return true }
    let free = UInt64(status.f_bavail) * UInt64(status.f_frsize)
    let wanted = use.unwritten.addingReportingOverflow(floor)
    return !wanted.overflow && wanted.partialValue <= free
  }

  /// Space for one file. It is given back when the last reference is gone.
  public final class Reservation: Sendable {
    private let allowance: SpoolAllowance
    public let bytes: UInt64
    private let unwritten: Lock<UInt64>

    fileprivate init(_ allowance: SpoolAllowance, _ bytes: UInt64) {
      self.allowance = allowance
      self.bytes = bytes
      unwritten = Lock(bytes)
    }

    /// The file grew by so many bytes.
    public func wrote(_ count: UInt64) {
      let counted = unwritten.withLock { left in
        let counted = min(left, count)
        left -= counted
        return counted
      }
      allowance.state.withLock { $0.use.unwritten -= counted }
    }

    deinit {
      let left = unwritten.withLock { $0 }
      allowance.state.withLock { state in
        state.use.reserved -= bytes
        state.use.unwritten -= left
      }
    }
  }
}
