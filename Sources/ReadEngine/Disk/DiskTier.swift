/// The disk tier: cache files of one store, within a size limit and above a free-space floor.
import Glibc
import Logging
import Metrics
import ObjectStore
import Posix
import Synchronization
import SystemPackage

final class DiskTier: Sendable {
  let folder: CacheFolder
  let limit: UInt64
  private let floor: UInt64
  /// What a store downloads whole counts against the limit, and is not on the disk yet.
  private let spool: SpoolAllowance?
  let index = Lock(CacheIndex())
  /// Not the system's: that is a system call for each number.
  private let generator = Lock(SeededGenerator(seed: .random(in: 0 ... .max)))
  private let policy: EvictionPolicy
  private let outlook = Lock<Outlook?>(nil)
  private let metrics: CacheMetrics
  private let log: Logger
  let isStopping = Atomic(false)
  private let saidFull = Atomic(false)
  /// The least size of which the file system has refused a file, bytes.
  private let refusedSize = Atomic(UInt64.max)
  private let census: Lock<Thread?> = Lock(nil)
  /// The index has all files of earlier mounts; what it says before is less than there is.
  let isCounted = Monitor(false)
  private let pinFile = Lock(())
  private let pressureHandler = Lock<Callback<Void, Void>?>(nil)
  private let roomHandler = Lock<Callback<Void, Void>?>(nil)
  /// A planned fetch was refused and waits for room.
  private let isRoomWanted = Atomic(false)
  private let lastAskedForOpenFiles = Lock(Instant(nanoseconds: 0))

  /// What orders say.
  private struct Outlook: Sendable {
    /// Of a file, by its hash: see `CacheIndex.Terms`.
    var nextUse: @Sendable (UInt64) -> Int?
    /// The same, once its coming use is over.
    var after: @Sendable (UInt64) -> Int?
  }

  /// Files a writer may still make on a file system that counts inodes.
  private static let inodeFloor: UInt64 = 1024

  init(
    store: String, configuration: EngineConfiguration, root: String, metrics: CacheMetrics,
    log: Logger
  ) throws(EngineError) {
    folder = try CacheFolder(root: root, store: store, log: log)
    limit = configuration.cacheLimit
    floor = configuration.freeSpaceFloor
    spool = configuration.spool
    policy = configuration.eviction
    self.metrics = metrics
    self.log = log
    for pin in PinList.read(folder.files) {
      _ = index.withLock { $0.pin(pin.id, ofKey: pin.key, true) }
    }
    // What is there from before is counted in the background: mounting does not wait for it.
    spool?.onShortage { [weak self] bytes in
      self?.makeRoom(bytes, evictingUsedBefore: .max) ?? false
    }
    do throws(Errno) {
      let thread = try Thread.start(named: "census") { [self] in countFiles() }
      census.withLock { $0 = thread }
    } catch {
      throw .noThread("that counts the cache", error)
    }
  }

  /// Trusts what is on disk now at the next start. Every file has been written by then.
  func shutdown() {
    isStopping.store(true, ordering: .relaxed)
    let thread = census.withLock { $0 }
    thread?.join()
    if !folder.release() {
      log.notice(
        "\(folder.path): its disk was not written within 10 s; if the machine stops first, cached blocks are verified"
      )
    }
  }

  func onPressure(_ handler: @escaping @Sendable () -> Void) {
    pressureHandler.withLock { $0 = Callback(handler) }
  }

  var usedBytes: UInt64 { index.withLock { $0.usedBytes } }
  var fileCount: Int { index.withLock { $0.count } }

  // MARK: Opens

  /// Takes note that a version is open, so that its file stays. False: do without the disk.
  func open(_ id: FileID) -> Bool { index.withLock { $0.open(id) } }

  /// A reader has opened it.
  func used(_ id: FileID) { index.withLock { $0.used(id) } }

  /// `after`: when a file is read again, once the coming use is over.
  func onNextUse(
    _ handler: @escaping @Sendable (UInt64) -> Int?,
    after: @escaping @Sendable (UInt64) -> Int?
  ) {
    outlook.withLock { $0 = Outlook(nextUse: handler, after: after) }
  }

  /// Called once there may be room again after `wantRoom`, on any thread, no lock held.
  func onRoom(_ handler: @escaping @Sendable () -> Void) {
    roomHandler.withLock { $0 = Callback(handler) }
  }

  /// The size that an opened file turned out to have.
  func account(_ id: FileID, bytes: UInt64) {
    index.withLock { $0.set(id, bytes: bytes) }
    publish()
  }

  func close(_ id: FileID) {
    index.withLock { $0.close(id) }
    publish()
    roomMayBeFree()
  }

  private func roomMayBeFree() {
    guard isRoomWanted.load(ordering: .relaxed),
      isRoomWanted.exchange(false, ordering: .relaxed)
    else { return }
    roomHandler.withLock { $0 }?(())
  }

  // MARK: Sizes

  /// False where the file system holds no file of so many bytes (ext4: more than 16 TiB; a process's limit):
  /// such objects are read past the disk.
  func holdsFile(ofSize size: UInt64) -> Bool { size < refusedSize.load(ordering: .relaxed) }

  /// The file system, or the limit of this process, has refused a file of so many bytes.
  func refused(fileOfSize size: UInt64) {
    metrics.cacheBypassedFiles.add()
    let before = refusedSize.min(size, ordering: .relaxed).oldValue
    guard before == .max else { return }
    log.notice(
      """
      the disk cache \(folder.path) holds no file of \(size) bytes (the file system's limit, or ulimit -f): \
      objects this large are read from the store each time
      """)
  }

  /// Bytes of it on disk; 0: none of it.
  func bytes(of id: FileID) -> UInt64 { index.withLock { $0.bytes(of: id) ?? 0 } }

  /// What may be written without anything having to go, bytes.
  var room: UInt64 {
    let beside = spool?.use ?? SpoolAllowance.Use()
    let (used, reserved) = index.withLock { ($0.usedBytes, $0.reservedBytes) }
    let free = freeSpace ?? .max
    let taken = used.addingSaturated(reserved).addingSaturated(beside.reserved)
    let kept = floor.addingSaturated(reserved).addingSaturated(beside.unwritten)
    return min(limit.subtractingSaturated(taken), free.subtractingSaturated(kept))
  }

  /// What the cache files can really occupy: the limit, or what is there and what the floor leaves of the free space,
  /// bytes. Before the index is complete it is less than it will be.
  var reachable: UInt64 {
    let used = usedBytes
    guard let free = freeSpace else { return limit }
    return min(limit, used.addingSaturated(free.subtractingSaturated(floor)))
  }

  // MARK: Pins

  /// Takes effect on what is there and on what comes. False: it was so before.
  func pin(_ id: FileID, of key: ObjectKey, _ isPinned: Bool) -> Bool {
    let hash = PinList.hash(of: key)
    return index.withLock { $0.pin(id, ofKey: hash, isPinned) }
  }

  func unpinAll() { index.withLock { $0.unpinAll() } }
  func isPinned(_ id: FileID) -> Bool { index.withLock { $0.isPinned(id) } }

  /// Keeps the pins for the next mount. One after the other: the last to write has the newest.
  func savePins() {
    pinFile.withLock { _ in
      let pins = index.withLock { $0.pinned }
      do throws(Errno) { try PinList.write(pins, to: folder.files) } catch {
        log.warning("\(folder.path)/pins: \(error); pins end with this mount")
      }
    }
  }

  /// Has what is held open for later use let go of.
  func letGo() { pressureHandler.withLock { $0 }?(()) }

  /// See `ReadEngine.beginLoad`.
  func tick() -> Int64 { index.withLock { $0.tick() } }

  /// Makes room for `bytes` by evicting what was last used before a tick. False: there is not so much.
  func makeRoom(_ bytes: UInt64, evictingUsedBefore tick: Int64) -> Bool {
    var terms = CacheIndex.Terms(policy: .lru, deadAfter: 0)
    terms.usedBefore = tick
    return makeRoom(terms, asksForOpenFiles: { true }, { shortage(of: bytes) }, take: { _ in true })
      == .made
  }

  /// Unlinks a file that is not open. Returns the bytes that are free then; nil: it is in use, pinned or
  /// not there.
  func remove(_ id: FileID) -> UInt64? {
    guard let victim = index.withLock({ $0.beginRemoval(of: id) }) else { return nil }
    unlink([victim])
    roomMayBeFree()
    return victim.bytes
  }

  // MARK: Space

  /// What a write or a planned fetch goes by: whether the file is worth its place once it was read. Its coming use
  /// is served from memory as well.
  private func terms(for id: FileID, deadAfter: Int64) -> CacheIndex.Terms {
    guard let outlook = outlook.withLock({ $0 }) else {
      return CacheIndex.Terms(policy: policy, deadAfter: deadAfter)
    }
    var terms = CacheIndex.Terms(
      policy: policy, deadAfter: deadAfter, nextUse: outlook.nextUse(id.low),
      nextUseOf: { outlook.nextUse($0.low) })
    terms.after = outlook.after(id.low)
    return terms
  }

  /// Makes room for `bytes` more of a file that is open, evicting others if it must. What `admit` reserved for
  /// the file is there. False: there is no room to be made; what was read stays in memory alone.
  func reserve(_ bytes: UInt64, for id: FileID, deadAfter: Int64) -> Bool {
    let isCovered = index.withLock { index in
      guard index.covered(id, bytes) == bytes else { return false }
      index.grow(id, by: bytes)
      return true
    }
    if isCovered {
      publish()
      return true
    }
    let terms = terms(for: id, deadAfter: deadAfter)
    let room = makeRoom(
      terms, asksForOpenFiles: { true }, { shortage(of: bytes, of: id) },
      take: { index in
        guard fits(bytes - index.covered(id, bytes), index) else { return false }
        index.grow(id, by: bytes)
        return true
      })
    switch room {
    case .made:
      publish()
      return true
    case .keeps:
      metrics.cacheBypassedFiles.add()
      return false
    case .inUse: break
    }
    if !saidFull.exchange(true, ordering: .relaxed) {
      log.notice(
        "the disk cache \(folder.path) is full of open or pinned files; reads continue without it")
    }
    return false
  }

  /// Reserves `bytes` for a planned fetch of a file that is open, before it is sent, evicting closed files that are
  /// read later. False: there is no room now. `endAdmission` ends it.
  func admit(_ bytes: UInt64, for id: FileID, deadAfter: Int64) -> Bool {
    let terms = terms(for: id, deadAfter: deadAfter)
    let room = makeRoom(
      terms, asksForOpenFiles: { mayAskForOpenFiles }, { shortage(of: bytes) },
      take: { fits(bytes, $0) && $0.reserve(id, bytes) })
    return room == .made
  }

  /// `onRoom` is called once there may be room again.
  func wantRoom() { isRoomWanted.store(true, ordering: .relaxed) }

  /// True if `onRoom` was to be called; it is not until the next `wantRoom`.
  func forgetRoom() -> Bool { isRoomWanted.exchange(false, ordering: .relaxed) }

  /// Files that are kept open for later use are closed for planned fetches once a second at most.
  private var mayAskForOpenFiles: Bool {
    lastAskedForOpenFiles.withLock { last in
      guard Instant.now - last > .seconds(1) else { return false }
      last = .now
      return true
    }
  }

  /// A planned fetch is over. `isWriting`: some of it waits to be written; `wrote` ends the rest then.
  func endAdmission(of id: FileID, isWriting: Bool) {
    index.withLock { $0.endReservation(id, isWriting: isWriting) }
    roomMayBeFree()
  }

  /// All that had come of a file is written.
  func wrote(_ id: FileID) {
    index.withLock { $0.wroteAll(id) }
    roomMayBeFree()
  }

  private enum Room { case made, keeps, inUse }

  /// What has to go before something can be written.
  private struct Shortage {
    var bytes: UInt64 = 0
    /// It is the disk that lacks space, not the cache: whatever may go is evicted, enough or not.
    var isOfDisk = false
  }

  private func fits(_ bytes: UInt64, _ index: CacheIndex) -> Bool {
    index.usedBytes.addingSaturated(index.reservedBytes)
      .addingSaturated(spool?.use.reserved ?? 0).addingSaturated(bytes) <= limit
  }

  /// Each round frees what was missing when it began; a few bring it about against other users of the disk, and
  /// then it cannot be won. `take` is asked under the lock once nothing is missing; false: another was faster.
  private func makeRoom(
    _ terms: CacheIndex.Terms, asksForOpenFiles: () -> Bool, _ shortage: () -> Shortage,
    take: (inout CacheIndex) -> Bool
  ) -> Room {
    var hasAsked = false
    for _ in 0..<4 {
      let missing = shortage()
      if missing.bytes == 0 {
        if index.withLock({ take(&$0) }) { return .made }
        continue
      }
      switch evict(missing, terms) {
      case .victims: continue
      case .keeps: return .keeps
      case .inUse: break
      }
      // What is held open for later use goes before new bytes stay out.
      if hasAsked || !asksForOpenFiles() { break }
      hasAsked = true
      letGo()
    }
    return shortage().bytes == 0 && index.withLock({ take(&$0) }) ? .made : .inUse
  }

  /// What has to go before `bytes` more can be written, of the file `id` if it is given: what is reserved for that
  /// counts as there.
  private func shortage(of bytes: UInt64, of id: FileID? = nil) -> Shortage {
    let beside = spool?.use ?? SpoolAllowance.Use()
    let (inFiles, reserved, covered) = index.withLock { index in
      (index.usedBytes, index.reservedBytes, id.map { index.covered($0, bytes) } ?? 0)
    }
    let used = inFiles.addingSaturated(beside.reserved)
    let bytes = reserved.addingSaturated(bytes).subtractingSaturated(covered)
    let overLimit = used.addingSaturated(bytes).subtractingSaturated(limit)
    var status = statvfs()
    guard fstatvfs(folder.files.raw, &status) == 0 else { return Shortage(bytes: overLimit) }
    let free = Self.free(status)
    let wanted = bytes.addingSaturated(floor).addingSaturated(beside.unwritten)
    let underFloor = wanted.subtractingSaturated(free)
    let lacksInodes = status.f_files > 0 && status.f_favail < Self.inodeFloor
    return Shortage(
      bytes: max(overLimit, underFloor, lacksInodes ? 1 : 0), isOfDisk: underFloor > overLimit)
  }

  private static func free(_ status: statvfs) -> UInt64 {
    UInt64(status.f_bavail).multipliedSaturated(by: UInt64(status.f_frsize))
  }

  private var freeSpace: UInt64? {
    var status = statvfs()
    return fstatvfs(folder.files.raw, &status) == 0 ? Self.free(status) : nil
  }

  /// Unlinks files that are not open, if any should be evicted.
  private func evict(_ shortage: Shortage, _ terms: CacheIndex.Terms) -> CacheIndex.Choice {
    let choice = index.withLock { index in
      generator.withLock {
        index.chooseVictims(
          freeing: shortage.bytes, partly: shortage.isOfDisk, terms, using: &$0)
      }
    }
    if case .victims(let victims) = choice { unlink(victims) }
    return choice
  }

  private func unlink(_ victims: [CacheIndex.Victim]) {
    for victim in victims {
      CacheFile.remove(victim.id, in: folder)
      index.withLock { $0.forget(victim.id) }
      metrics.evictedFiles.add()
      metrics.evictedBytes.add(victim.bytes)
    }
    publish()
  }

  func publish() {
    let (bytes, files) = index.withLock { ($0.usedBytes, $0.count) }
    metrics.diskBytes.set(Int64(clamping: bytes))
    metrics.diskFiles.set(Int64(files))
  }
}
