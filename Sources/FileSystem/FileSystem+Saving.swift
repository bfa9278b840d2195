/// The tree survives a remount: listings are written beside the cached data, and believed at the next
/// mount for as long as the metadata TTL says, counted from when they were made.
import Glibc
import Logging
import Metrics
import ObjectStore
import Posix

extension FileSystem {
  /// A mount whose names live long keeps them safe from a crash as well, at most this often.
  private static let interval = Duration.seconds(300)

  static func wallClock() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
  }

  /// At mount.
  func openSavedListings() {
    guard let file = options.listingsFile, options.metadataTTL > .zero else { return }
    let now = wallTime()
    let saved = ListingCacheFile(
      file, oldest: now - options.metadataTTL.nanoseconds, now: now)
    guard let saved, !saved.isEmpty else { return }
    state.withLock { $0.saved = saved }
  }

  /// Takes a folder's listing out of the file, if it has one and none is known.
  func loadSaved(_ state: inout MetadataState, _ folder: ObjectKey, now: Instant) {
    guard let saved = state.saved, saved.has(folder), let listing = saved.take(folder) else {
      return
    }
    if saved.isEmpty { state.saved = nil }
    let known = state.folders[folder]
    let age = wallTime() - listing.started
    guard known?.listing == nil, known?.fetching == nil, age >= 0,
      UInt64(age) <= now.nanoseconds
    else { return }
    let started = Instant(nanoseconds: now.nanoseconds - UInt64(age))
    guard now < started + options.metadataTTL, started >= known?.invalidBefore ?? started else {
      return
    }
    let generation = DirectoryListing(
      folder: folder, started: started, entries: listing.entries, hidden: listing.hidden,
      account: account)
    state.folders[folder, default: DirectoryState()].listing = generation
    metrics.metadata.listedDirectories.add(1)
    metrics.metadata.restoredListings.add()
  }

  /// Writes what is fresh, and what was kept before, is fresh, and was not asked for since.
  func saveListings() {
    guard let file = options.listingsFile, options.metadataTTL > .zero else { return }
    let now = clock()
    let wall = wallTime()
    let oldest = wall - options.metadataTTL.nanoseconds
    let (fresh, kept) = state.withLock { state in
      let fresh = state.folders.values.compactMap { known -> (DirectoryListing, Int64)? in
        guard let listing = known.listing, listing.isOrdered,
          known.isFresh(listing, ttl: options.metadataTTL, now: now)
        else { return nil }
        return (listing, wall - (now - listing.started).nanoseconds)
      }
      let kept = state.saved.map {
        ListingCacheFile.Kept(file: $0, records: $0.records(since: oldest))
      }
      return (fresh, kept)
    }
    if !ListingCacheFile.write(fresh, and: kept, to: file) {
      log.warning(
        "cannot write \(file): \(String(cString: strerror(errno))); the next mount lists the directories again"
      )
    }
  }

  /// After a listing: saves now and then where that is worth more than it costs.
  func saveSometimes() {
    guard options.listingsFile != nil, options.metadataTTL >= Self.interval * 2 else { return }
    let now = clock()
    let isDue = state.withLock { state in
      guard !state.isShutDown, now >= state.savedAt + Self.interval else { return false }
      defer { state.savedAt = now }
      return state.savedAt.nanoseconds > 0
    }
    if isDue { _ = notifier.submit { [weak self] in self?.saveListings() } }
  }
}
