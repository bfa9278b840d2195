import Metrics
/// Bytes for those who will read, and what is done to cached versions by hand.
public import ObjectStore
import Posix

extension ReadEngine {
  /// Fetches what is missing of a version. `done` is called once, on any thread, maybe before this returns.
  public func prefetch(
    _ version: ObjectVersion, _ rank: FetchRank,
    done: @escaping @Sendable (PrefetchOutcome) -> Void
  ) {
    PrefetchRun(services.open(version), rank, done: done).start()
  }

  /// Fetches what is missing of `bytes` of a version that an order names, once its room on the disk is reserved.
  /// `inMemory`: it goes also without room on the disk, and then stays in
  /// memory until it is read. False: there is no room, nothing is fetched and `done` is not called; `onDiskRoom`
  /// says when to ask again.
  public func prefetchPlanned(
    _ version: ObjectVersion, _ bytes: Range<UInt64>, inMemory: Bool,
    done: @escaping @Sendable (PrefetchOutcome) -> Void
  ) -> Bool {
    let object = services.open(version)
    let pieces =
      version.size <= Geometry.smallObjectLimit
      ? 0..<Geometry.pieceCount(ofSize: version.size) : Geometry.pieces(covering: bytes)
    let isAdmitted = admit(pieces, of: object)
    guard isAdmitted || inMemory else {
      closeAfterLook(object)
      services.disk?.wantRoom()
      return false
    }
    PrefetchRun(object, pieces: pieces, .planned, isAdmitted: isAdmitted, done: done).start()
    return true
  }

  private func admit(_ pieces: Range<Int>, of object: CachedObject) -> Bool {
    guard let disk = services.disk else { return false }
    guard let missing = object.bytesMissing(of: pieces) else { return false }
    return disk.admit(
      missing, for: object.id, deadAfter: services.reuse.withLock { $0.deadAfter })
  }

  /// Called once there may be room on the disk again after `prefetchPlanned` had none, on any thread, no lock held.
  public func onDiskRoom(_ handler: @escaping @Sendable () -> Void) {
    services.disk?.onRoom(handler)
  }

  /// How far the readers of a version have come, bytes; nil: no reader has it open. Reads that the kernel answers
  /// by itself are not seen.
  public func readPosition(of version: ObjectVersion) -> UInt64? {
    services.inUse(version)?.readPosition
  }

  /// Names a version in `onNextUse`.
  public func hash(of version: ObjectVersion) -> UInt64 {
    FileID(store: services.storeIdentity, version: version).low
  }

  /// Called on a thread of the engine, with a lock held, when something must be evicted. Returns how many files are
  /// read before this one, `Int.max` if it was read and comes last again, nil if unknown. It must not call
  /// the engine.
  /// `after`: the same, once the coming use is over; the disk keeps what is read again sooner.
  public func onNextUse(
    _ handler: @escaping @Sendable (_ hash: UInt64) -> Int?,
    after: @escaping @Sendable (_ hash: UInt64) -> Int? = { _ in nil }
  ) {
    services.disk?.onNextUse(handler, after: after)
    services.memory.onNextUse(handler)
  }

  /// The directory of the data set in background prefetch, nil at its end. Other readers that wait for the store must
  /// not wait more than a twentieth longer because of it. Readers of small files below this directory gain by it.
  public func fills(_ folder: ObjectKey?) { services.dispatcher.fills(folder) }

  /// Background prefetch that is kept queued, so that free capacity need not wait for the submitter.
  private static let fillBacklog = 16

  /// Fill that is worth submitting now.
  public var fillAppetite: Int {
    let fill = services.dispatcher.fill
    return max(0, fill.limit + Self.fillBacklog - fill.busy)
  }

  /// What can be fetched without anything having to go, bytes.
  public var room: UInt64 {
    if let disk = services.disk { return disk.room }
    let limit = services.pool.capacity * 3 / 4 * Geometry.pieceSize
    return UInt64(max(0, limit - Int(services.metrics.cache.memoryBytes.current)))
  }

  public var hasDisk: Bool { services.disk != nil }

  /// How much of a version is where, by the blocks that it has; cheap, nothing is opened.
  public func holding(of version: ObjectVersion) -> Holding {
    let id = FileID(store: services.storeIdentity, version: version)
    var holding = Holding()
    // Before the disk: what does not move any more has been written by the time that is looked at.
    if let object = services.inUse(version) {
      (holding.memory, holding.isMoving) = object.bytesInMemory
    }
    holding.disk = min(services.disk?.bytes(of: id) ?? 0, version.size)
    holding.isPinned = services.disk?.isPinned(id) ?? false
    return holding
  }

  /// The start of a requested load: what is used from now on is not evicted for it.
  public func beginLoad() -> Int64 { services.disk?.tick() ?? 0 }

  /// Makes room for `bytes` of a load. What was last used before the load began goes for it, unless it is
  /// open or pinned. False: there is not so much.
  public func makeRoom(_ bytes: UInt64, forLoadBegunAt tick: Int64) -> Bool {
    guard let disk = services.disk else { return room >= bytes }
    return disk.makeRoom(bytes, evictingUsedBefore: tick)
  }

  /// Pins a version, or lets go of it and of those before it. False: it was so before.
  public func pin(_ version: ObjectVersion, _ isPinned: Bool) -> Bool {
    let id = FileID(store: services.storeIdentity, version: version)
    return services.disk?.pin(id, of: version.key, isPinned) ?? false
  }

  /// Lets go of every pin of the cache folder, also of objects that are no longer in the store.
  public func unpinAll() { services.disk?.unpinAll() }

  /// Keeps the pins as they are now for the next mount.
  public func savePins() { services.disk?.savePins() }

  /// Has cache files that are kept open for later use let go of, so that `evict` can have them.
  public func letGo() { services.disk?.closeIdleFiles() }

  /// Drops what is cached of a version, on disk and in memory. Returns the bytes freed; nil: it is open or
  /// pinned.
  public func evict(_ version: ObjectVersion) -> UInt64? {
    let id = FileID(store: services.storeIdentity, version: version)
    if services.disk?.isPinned(id) == true { return nil }
    let inMemory = services.inUse(version)?.dropFromMemory() ?? 0
    guard let disk = services.disk, disk.bytes(of: id) > 0 else { return inMemory }
    return disk.remove(id).map { $0 + inMemory }
  }

  /// Reads what is on disk of a version and drops what is not as it was written. Waits for the disk.
  /// Returns the bytes that were dropped. `isStopped` is asked for each piece.
  public func verify(_ version: ObjectVersion, isStopped: () -> Bool) -> UInt64 {
    let object = services.open(version)
    defer { services.close(object) }
    return object.copyOnDisk.verifyAll(isStopped: isStopped)
  }

  /// Whether all of a version is on disk, or in memory where there is no disk, piece by piece: that blocks were given
  /// to a file says nothing of it (some are given before their bytes come; a file system that compresses gives fewer).
  public func isWhole(_ version: ObjectVersion) -> Bool {
    isWhole(version, as: holding(of: version))
  }

  /// The same of who knows what is held already.
  public func isWhole(_ version: ObjectVersion, as holding: Holding) -> Bool {
    if !hasDisk { return holding.memory >= version.size }
    // A small file is renamed into place once it is whole.
    if holding.disk == 0 || version.size <= Geometry.smallObjectLimit { return holding.disk > 0 }
    let object = services.open(version)
    defer { closeAfterLook(object) }
    return object.copyOnDisk.isWholeInRecords
  }

  /// Closes what was opened to look at it. That makes no room: who waits for room is not called for it.
  private func closeAfterLook(_ object: CachedObject) {
    let isWanted = services.disk?.forgetRoom() ?? false
    services.close(object)
    if isWanted { services.disk?.wantRoom() }
  }
}

/// How much of a version is on this node, bytes.
public struct Holding: Sendable {
  public var memory: UInt64 = 0
  public var disk: UInt64 = 0
  public var isPinned = false
  /// On its way from the store or to the disk.
  public var isMoving = false
}
