/// The disk tier: cache files of one store, within a size limit and above a free-space floor.
///
/// The face of its parts: `CacheFiles`, what is there (`CacheIndex` under its lock); `DiskSpace`, what the limit and
/// the file system leave (`SpaceBudget`); `Evictor`, which makes space (`EvictionRounds`) on the terms of
/// `AccessForecast`; `SpaceNotices`, who waits for it; `CacheCensus`, what earlier mounts left; `PinFile`; and
/// `CacheBypasses`, what is read past it.
import Logging
import Metrics
import ObjectStore
import Posix

final class DiskTier: Sendable {
  let folder: CacheFolder
  private let space: DiskSpace
  private let files: CacheFiles
  private let evictor: Evictor
  private let forecast: AccessForecast
  private let notices = SpaceNotices()
  private let bypasses: CacheBypasses
  private let pinFile: PinFile
  private let census: CacheCensus
  private let log: Logger

  init(
    store: String, configuration: EngineConfiguration, root: String, metrics: CacheMetrics,
    log: Logger
  ) throws(EngineError) {
    folder = try CacheFolder(root: root, store: store, log: log)
    space = DiskSpace(
      SpaceBudget(limit: configuration.cacheLimit, floor: configuration.freeSpaceFloor),
      of: folder.files, spool: configuration.spool)
    files = CacheFiles(in: folder, space: space, metrics: metrics)
    evictor = Evictor(files: files, notices: notices)
    forecast = AccessForecast(configuration.eviction)
    bypasses = CacheBypasses(path: folder.path, metrics: metrics, log: log)
    pinFile = PinFile(in: folder.files, log: log)
    census = CacheCensus(of: folder.files, into: files)
    self.log = log
    for pin in pinFile.read() { _ = files.pin(pin.id, ofKey: pin.key, true) }
    space.onSpoolShortage { [weak self] bytes in
      self?.makeRoom(bytes, evictingUsedBefore: .max) ?? false
    }
    try census.start()
  }

  /// Trusts what is on disk now at the next start. Every file has been written by then.
  func shutdown() {
    census.stop()
    if !folder.release() {
      log.notice(
        "\(folder.path): its disk was not written within 10 s; if the machine stops first, cached blocks are verified"
      )
    }
  }

  /// See `CacheCensus`.
  func waitUntilCounted(by deadline: Instant) -> Bool { census.waitUntilCounted(by: deadline) }

  var usedBytes: UInt64 { files.usedBytes }
  var fileCount: Int { files.count }

  // MARK: Opens

  /// Takes note that a version is open, so that its file stays. False: do without the disk.
  func open(_ id: FileID) -> Bool { files.open(id) }

  /// A reader has opened it.
  func used(_ id: FileID) { files.used(id) }

  /// The size that an opened file turned out to have.
  func account(_ id: FileID, bytes: UInt64) { files.account(id, bytes: bytes) }

  func close(_ id: FileID) {
    files.close(id)
    notices.roomMayBeFree()
  }

  /// See `ReadEngine.beginLoad`.
  func tick() -> Int64 { files.tick() }

  /// See `AccessForecast`.
  func onNextUse(
    _ handler: @escaping @Sendable (UInt64) -> Int?,
    after: @escaping @Sendable (UInt64) -> Int?
  ) {
    forecast.onNextUse(handler, after: after)
  }

  // MARK: Sizes

  /// Bytes of cache files; `UInt64.max`: the free-space floor alone bounds them.
  var limit: UInt64 { space.budget.limit }

  /// False: such objects are read past the disk.
  func holdsFile(ofSize size: UInt64) -> Bool { bypasses.holdsFile(ofSize: size) }

  /// See `CacheBypasses.refused`.
  func refused(fileOfSize size: UInt64) { bypasses.refused(fileOfSize: size) }

  /// Bytes of it on disk; 0: none of it.
  func bytes(of id: FileID) -> UInt64 { files.bytes(of: id) }

  /// What may be written without anything having to go, bytes.
  var room: UInt64 { space.budget.available(files.use, free: space.free) }

  /// What the cache files can really occupy, bytes. Before the index is complete it is less than it will be.
  var reachable: UInt64 { space.budget.reachable(inFiles: files.usedBytes, free: space.free) }

  // MARK: Pins

  /// Takes effect on what is there and on what comes. False: it was so before.
  func pin(_ id: FileID, of key: ObjectKey, _ isPinned: Bool) -> Bool {
    let hash = PinList.hash(of: key)
    return files.pin(id, ofKey: hash, isPinned)
  }

  func unpinAll() { files.unpinAll() }
  func isPinned(_ id: FileID) -> Bool { files.isPinned(id) }

  /// Keeps the pins for the next mount.
  func savePins() { pinFile.save { files.pinned } }

  // MARK: Space

  /// See `SpaceNotices`.
  func onPressure(_ handler: @escaping @Sendable () -> Void) { notices.onPressure(handler) }

  /// Has files that are open only for later use closed.
  func closeIdleFiles() { notices.closeIdleFiles() }

  /// Called once there may be room again after `wantRoom`, on any thread, no lock held.
  func onRoom(_ handler: @escaping @Sendable () -> Void) { notices.onRoom(handler) }

  /// `onRoom` is called once there may be room again.
  func wantRoom() { notices.wantRoom() }

  /// True if `onRoom` was to be called; it is not until the next `wantRoom`.
  func forgetRoom() -> Bool { notices.forgetRoom() }

  /// Makes room for `bytes` by evicting what was last used before a tick. False: there is not so much.
  func makeRoom(_ bytes: UInt64, evictingUsedBefore tick: Int64) -> Bool {
    var terms = CacheIndex.Terms(policy: .lru, deadAfter: 0)
    terms.usedBefore = tick
    return evictor.free(bytes, terms) == .made
  }

  /// Unlinks a file that is not open. Returns the bytes that are free then; nil: it is in use, pinned or
  /// not there.
  func remove(_ id: FileID) -> UInt64? {
    guard let bytes = files.remove(id) else { return nil }
    notices.roomMayBeFree()
    return bytes
  }

  /// Makes room for `bytes` more of a file that is open, evicting others if it must. What `admit` reserved for
  /// the file is there. False: there is no room to be made; what was read stays in memory alone.
  func reserve(_ bytes: UInt64, for id: FileID, deadAfter: Int64) -> Bool {
    if files.growWithinReservation(id, by: bytes) {
      files.publish()
      return true
    }
    switch evictor.grow(id, by: bytes, forecast.terms(for: id, deadAfter: deadAfter)) {
    case .made:
      files.publish()
      return true
    case .keeps: bypasses.outranked()
    case .inUse: bypasses.full()
    }
    return false
  }

  /// Reserves `bytes` for a planned fetch of a file that is open, before it is sent, evicting closed files that are
  /// read later. False: there is no room now. `endAdmission` ends it.
  func admit(_ bytes: UInt64, for id: FileID, deadAfter: Int64) -> Bool {
    let terms = forecast.terms(for: id, deadAfter: deadAfter)
    return evictor.reserve(bytes, for: id, terms) == .made
  }

  /// A planned fetch is over. `isWriting`: some of it waits to be written; `wrote` ends the rest then.
  func endAdmission(of id: FileID, isWriting: Bool) {
    files.endReservation(of: id, isWriting: isWriting)
    notices.roomMayBeFree()
  }

  /// All that had come of a file is written.
  func wrote(_ id: FileID) {
    files.wroteAll(of: id)
    notices.roomMayBeFree()
  }
}
