import Glibc
import Logging
import Metrics
import ObjectStore
import Posix
import Synchronization

/// The tree survives a remount: listings are written beside the cached data, and valid at the next mount for as long as
/// the metadata TTL says, counted from when they were made.
///
/// The lock guards only what is still to be restored; files are read and written without any. Callers that need a
/// listing that another thread reads wait for it: a read of the local disk.
final class ListingPersistence: Sendable {
  private struct State {
    /// What an earlier mount kept; nil once all of it was restored.
    var file: ListingCacheFile?
    /// What of it is still to be restored.
    var index = ListingCacheFile.Index()
    /// Directories whose listing is being read.
    var reading: Set<ObjectKey> = []
    /// When listings were written last; 0: not since the mount.
    var savedAt = Instant(nanoseconds: 0)
    var isStopped = false
  }

  /// A mount whose names live long keeps them safe from a crash as well, at most this often.
  private static let interval = Duration.seconds(300)

  private let context: MountContext
  private let cache: MetadataCache
  private let state = Monitor(State())
  private let remains: Atomic<Bool>
  private let worker: WorkerPool

  /// `worker`: for what takes long and may wait.
  init(_ context: MountContext, cache: MetadataCache, worker: WorkerPool) {
    self.context = context
    self.cache = cache
    self.worker = worker
    let now = context.options.clocks.wallTime()
    let ttl = context.options.metadataTTL
    let place = ttl > .zero ? context.options.listingsFile : nil
    let kept = place.flatMap {
      ListingCacheFile.open($0, oldest: now - ttl.nanoseconds, now: now)
    }
    remains = Atomic(kept?.index.isEmpty == false)
    guard let kept, !kept.index.isEmpty else { return }
    state.withLock { state in
      state.file = kept.file
      state.index = kept.index
    }
  }

  /// There may be something to restore. Takes no lock.
  var hasMore: Bool { remains.load(ordering: .relaxed) }

  /// Puts the listing of a directory into the cache, if an earlier mount kept it and none is known. To be called before
  /// the cache is asked for it.
  func restore(_ directory: ObjectKey) {
    guard hasMore, let (file, records) = beginReading(directory) else {
      return
    }
    if let listing = file.listing(of: directory, from: records) {
      // In this order, so that it does not seem younger than it is.
      let now = context.now
      let age = context.options.clocks.wallTime() - listing.started
      if cache.restore(
        directory, entries: listing.entries, hidden: listing.hidden, age: age, at: now)
      {
        context.metrics.metadata.listedDirectories.add(1)
        context.metrics.metadata.restoredListings.add()
      }
    }
    state.signal(all: true) { state in
      state.reading.remove(directory)
      closeIfEmpty(&state)
    }
  }

  private func closeIfEmpty(_ state: inout State) {
    guard state.index.isEmpty && state.reading.isEmpty else { return }
    state.file = nil
    remains.store(false, ordering: .relaxed)
  }

  /// Nil if there is nothing of the directory (any more). Waits for another thread that reads it.
  private func beginReading(
    _ directory: ObjectKey
  ) -> (ListingCacheFile, [ListingCacheFile.Record])? {
    enum Turn {
      case nothing
      case read(ListingCacheFile, [ListingCacheFile.Record])
    }
    let turn = state.wait { state -> Turn? in
      if state.reading.contains(directory) { return nil }
      guard let file = state.file, let records = state.index.remove(directory) else {
        return .nothing
      }
      state.reading.insert(directory)
      return .read(file, records)
    }
    guard case .read(let file, let records)? = turn else { return nil }
    return (file, records)
  }

  /// Restores all directories below a prefix.
  func restoreAll(below prefix: ObjectKey) {
    guard hasMore else { return }
    for directory in state.withLock({ $0.index.directories }) where directory.hasPrefix(prefix) {
      restore(directory)
    }
  }

  /// Whether a directory's listing is to be restored, or is being read. The only thing here that is asked under the
  /// lock of MetadataCache: so nothing here calls that under the lock.
  func isKept(_ directory: ObjectKey) -> Bool {
    guard hasMore else { return false }
    return state.withLock { $0.index.has(directory) || $0.reading.contains(directory) }
  }

  /// Nothing below a prefix is restored after this.
  func drop(below prefix: ObjectKey) {
    guard hasMore else { return }
    state.withLock { $0.index.remove(below: prefix) }
    // What is being read is in the cache after this, where the caller finds it.
    _ = state.wait { state -> Bool? in
      if state.reading.contains(where: { $0.hasPrefix(prefix) }) { return nil }
      closeIfEmpty(&state)
      return true
    }
  }

  /// The directory is listed anew: what was kept is older, and is not restored after this.
  func drop(_ directory: ObjectKey) {
    guard hasMore else { return }
    state.withLock { state in
      _ = state.index.remove(directory)
      closeIfEmpty(&state)
    }
  }

  /// Writes what is valid, and what was kept before, is valid, and was not requested since.
  func save() {
    guard let place = context.options.listingsFile, context.options.metadataTTL > .zero else {
      return
    }
    let wall = context.options.clocks.wallTime()
    // First what was kept, and not while some of it is on its way into the cache: so all is in one of the two.
    let before = state.wait { $0.reading.isEmpty ? ($0.file, $0.index) : nil }
    let fresh = cache.freshListings().filter { $0.listing.isOrdered }
    let directories = Set(fresh.map(\.listing.directory))
    let oldest = wall - context.options.metadataTTL.nanoseconds
    let kept = before.flatMap { file, index in
      file.map {
        ListingCacheFile.Kept(
          file: $0, records: index.records(since: oldest, except: directories))
      }
    }
    let listings = fresh.map { ($0.listing, wall - $0.age.nanoseconds) }
    if !ListingCacheFile.write(listings, and: kept, to: place) {
      context.log.warning(
        "cannot write \(place): \(String(cString: strerror(errno))); the next mount lists the directories again"
      )
    }
  }

  /// After a listing: saves now and then where that is worth more than it costs.
  func saveSometimes() {
    guard context.options.listingsFile != nil,
      context.options.metadataTTL >= Self.interval * 2
    else { return }
    let now = context.now
    let isDue = state.withLock { state in
      guard !state.isStopped, now >= state.savedAt + Self.interval else { return false }
      defer { state.savedAt = now }
      return state.savedAt.nanoseconds > 0
    }
    if isDue { _ = worker.submit { [weak self] in self?.save() } }
  }

  /// Saves for the last time.
  func shutDown() {
    let isFirst = state.withLock { state in
      defer { state.isStopped = true }
      return !state.isStopped
    }
    if isFirst { save() }
  }
}
