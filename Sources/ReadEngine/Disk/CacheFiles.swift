/// The files of the cache directory: what is there, in use, reserved and pinned, and what is unlinked.
///
/// The shell of `CacheIndex`: each method takes the lock once, and files are unlinked without it. Under the lock it
/// asks access orders when files are read next, and the spool what it uses; both have locks of their own and call
/// nothing. The spool counts a reservation before it looks for space, so that of two who count at once one sees the
/// other only if it is asked under the lock.
import Metrics
import ObjectStore
import Posix

final class CacheFiles: Sendable {
  private struct State {
    var index = CacheIndex()
    /// Not the system's: that is a system call for each number.
    var generator = SeededGenerator(seed: .random(in: 0 ... .max))

    func use(_ spool: SpoolAllowance.Use) -> SpaceBudget.Use {
      SpaceBudget.Use(inFiles: index.usedBytes, reserved: index.reservedBytes, spool: spool)
    }
  }

  private let folder: CacheFolder
  private let space: DiskSpace
  private let metrics: CacheMetrics
  private let state = Lock(State())

  init(in folder: CacheFolder, space: DiskSpace, metrics: CacheMetrics) {
    self.folder = folder
    self.space = space
    self.metrics = metrics
  }

  /// Bytes of all, reservations not counted.
  var usedBytes: UInt64 { state.withLock { $0.index.usedBytes } }
  var count: Int { state.withLock { $0.index.count } }

  /// Bytes of it on disk; 0: none of it.
  func bytes(of id: FileID) -> UInt64 { state.withLock { $0.index.bytes(of: id) ?? 0 } }

  /// Sets the gauges.
  func publish() {
    let (bytes, files) = state.withLock { ($0.index.usedBytes, $0.index.count) }
    metrics.diskBytes.set(Int64(clamping: bytes))
    metrics.diskFiles.set(Int64(files))
  }

  // MARK: Uses

  /// See `CacheIndex.open`.
  func open(_ id: FileID) -> Bool { state.withLock { $0.index.open(id) } }

  /// A reader has opened it.
  func used(_ id: FileID) { state.withLock { $0.index.used(id) } }

  func close(_ id: FileID) {
    state.withLock { $0.index.close(id) }
    publish()
  }

  /// See `CacheIndex.tick`.
  func tick() -> Int64 { state.withLock { $0.index.tick() } }

  /// The size that a file turned out to have.
  func account(_ id: FileID, bytes: UInt64) {
    state.withLock { $0.index.set(id, bytes: bytes) }
    publish()
  }

  /// A file of an earlier mount, last used `secondsBefore` seconds before this one. The gauges follow by `publish`.
  func discover(_ id: FileID, bytes: UInt64, secondsBefore: Int64) {
    state.withLock { $0.index.discover(id, bytes: bytes, secondsBefore: secondsBefore) }
  }

  // MARK: Pins

  /// See `CacheIndex.pin`.
  func pin(_ id: FileID, ofKey key: UInt64, _ isPinned: Bool) -> Bool {
    state.withLock { $0.index.pin(id, ofKey: key, isPinned) }
  }

  func unpinAll() { state.withLock { $0.index.unpinAll() } }
  func isPinned(_ id: FileID) -> Bool { state.withLock { $0.index.isPinned(id) } }
  var pinned: [FileID: UInt64] { state.withLock { $0.index.pinned } }

  // MARK: Space

  /// What counts against the budget now.
  var use: SpaceBudget.Use {
    let spool = space.spoolUse
    return state.withLock { $0.use(spool) }
  }

  /// What has to go before `bytes` more can be written, of the file `id` if it is given: what is reserved for that
  /// counts as there. A system call.
  func shortage(of bytes: UInt64, for id: FileID? = nil) -> SpaceBudget.Shortage {
    let spool = space.spoolUse
    let (use, covered) = state.withLock { state in
      (state.use(spool), id.map { state.index.covered($0, bytes) } ?? 0)
    }
    return space.budget.shortage(of: bytes, covered: covered, use, free: space.free)
  }

  /// Counts `bytes` more of a file if all of them were reserved for it.
  func growWithinReservation(_ id: FileID, by bytes: UInt64) -> Bool {
    state.withLock { state in
      guard state.index.covered(id, bytes) == bytes else { return false }
      state.index.grow(id, by: bytes)
      return true
    }
  }

  /// Counts `bytes` more of a file if they are within the limit. False: another was faster.
  func grow(_ id: FileID, by bytes: UInt64) -> Bool {
    state.withLock { state in
      let missing = bytes - state.index.covered(id, bytes)
      guard space.budget.isWithinLimit(adding: missing, state.use(space.spoolUse)) else {
        return false
      }
      state.index.grow(id, by: bytes)
      return true
    }
  }

  /// Reserves `bytes` for a planned fetch of a file if they are within the limit and it is open.
  func reserve(_ bytes: UInt64, for id: FileID) -> Bool {
    state.withLock { state in
      space.budget.isWithinLimit(adding: bytes, state.use(space.spoolUse))
        && state.index.reserve(id, bytes)
    }
  }

  /// See `CacheIndex.endReservation`.
  func endReservation(of id: FileID, isWriting: Bool) {
    state.withLock { $0.index.endReservation(id, isWriting: isWriting) }
  }

  /// See `CacheIndex.wroteAll`.
  func wroteAll(of id: FileID) { state.withLock { $0.index.wroteAll(id) } }

  // MARK: Removal

  /// Unlinks files that are not open, if any should be evicted.
  func evict(_ shortage: SpaceBudget.Shortage, _ terms: CacheIndex.Terms) -> CacheIndex.Choice {
    let choice = state.withLock { state in
      state.index.chooseVictims(
        freeing: shortage.bytes, partly: shortage.isOfDisk, terms, using: &state.generator)
    }
    if case .victims(let victims) = choice { unlink(victims) }
    return choice
  }

  /// Unlinks a file. Returns the bytes that are free then; nil: it is in use, pinned or not there.
  func remove(_ id: FileID) -> UInt64? {
    guard let victim = state.withLock({ $0.index.beginRemoval(of: id) }) else { return nil }
    unlink([victim])
    return victim.bytes
  }

  private func unlink(_ victims: [CacheIndex.Victim]) {
    for victim in victims {
      CacheFile.remove(victim.id, in: folder)
      state.withLock { $0.index.forget(victim.id) }
      metrics.evictedFiles.add()
      metrics.evictedBytes.add(victim.bytes)
    }
    publish()
  }
}
