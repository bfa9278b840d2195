/// What a mount counts, one instance a mount, made by the command line and handed down.
///
/// A name here is the name in `millrace stats --json`; add a counter here and it shows there.
public final class Metrics: Sendable {
  /// What the kernel asked for.
  public let fuse = FrontMetrics()
  /// Where the bytes handed to readers came from.
  public let reads = ReadMetrics()
  /// What was asked of the store.
  public let store = StoreMetrics()
  /// The disk and memory tiers.
  public let cache = CacheMetrics()
  /// Names and attributes.
  public let metadata = NameMetrics()

  /// What was fetched for those who will read.
  public let prefetch = PrefetchMetrics()

  public init() {}
}

public final class PrefetchMetrics: Sendable {
  /// Folders and trees that were recognised as a data set being walked.
  public let prefetchedDirectories = Counter()
  /// What was fetched of them before anybody asked.
  public let backgroundFiles = Counter()
  public let backgroundBytes = Counter()
  /// Orders taken, and what was fetched by them.
  public let orders = Counter()
  public let orderedFiles = Counter()
  public let orderedBytes = Counter()
  /// Of files in an order: opened before they had been fetched.
  public let orderLateOpens = Counter()
  /// Memory of the orders in force, bytes.
  public let orderMemory = Gauge()
  /// Paths of orders that nothing is known of.
  public let orderPathsNotFound = Counter()
  /// What warm-ups fetched.
  public let warmedFiles = Counter()
  public let warmedBytes = Counter()
}

public final class FrontMetrics: Sendable {
  public let lookups = Counter()
  public let getattrs = Counter()
  public let opens = Counter()
  /// Opens that the kernel serves from the cache file: their reads are not seen here.
  public let passthroughOpens = Counter()
  /// The sizes of the files so opened, added up: what of them is read is not seen either.
  public let passthroughBytes = Counter()
  /// Cache files kept open, with their backing ids, that no program has open now.
  public let cachedOpenFiles = Gauge()
  public let reads = Counter()
  public let readdirs = Counter()
  public let forgets = Counter()
  public let errors = Counter()
  /// Requests dropped without an answer: each is a defect that the deinit of a request caught.
  public let droppedRequests = Counter()
}

public final class ReadMetrics: Sendable {
  public let bytesFromMemory = Counter()
  public let bytesFromDisk = Counter()
  /// Bytes handed to readers that had to wait for the store.
  public let bytesFromStore = Counter()
  public let hitsInMemory = Counter()
  public let hitsOnDisk = Counter()
  public let misses = Counter()
  public let failures = Counter()
  public let timeouts = Counter()
  /// Objects opened, and those of them that needed nothing of the store to be read whole.
  public let filesOpened = Counter()
  public let filesOpenedFromDisk = Counter()
  public let parked = Gauge()
}

public final class StoreMetrics: Sendable {
  public let getRequests = Counter()
  public let listRequests = Counter()
  public let headRequests = Counter()
  public let retries = Counter()
  public let errors = Counter()
  /// Body bytes that arrived for reads, listings not included.
  public let bytesFetched = Counter()
  public let connectionsOpened = Counter()
  /// Slow requests that were asked a second time, and how often the second was answered first.
  public let hedges = Counter()
  public let hedgesWon = Counter()
  public let inFlight = Gauge()
  /// Times the store asked for less.
  public let throttles = Counter()
  /// Requests that may be under way at once; 0 until one has been answered.
  public let concurrencyLimit = Gauge()
  /// Requests that waited for a rate limit of ours (`--max-bandwidth`, `--max-requests-per-second`).
  public let rateLimitedRequests = Counter()
  /// The time in which those limits held back all requests.
  public let limitClock = LimitClock()
  public let health = StoreHealth()
  /// Objects whose content was held against a checksum that the store has of it.
  public let objectsVerified = Counter()
  /// Objects whose content did not match the checksum that the store has of it; each was fetched again.
  public let checksumMismatches = Counter()

  /// Sets the counters to zero: the requests that a mount sends to check the store are no reader's.
  public func reset() {
    // By reflection, so that a counter added above needs no line here.
    for item in Mirror(reflecting: self).children { (item.value as? Counter)?.reset() }
  }
}

public final class CacheMetrics: Sendable {
  public let memoryBytes = Gauge()
  public let diskBytes = Gauge()
  public let diskFiles = Gauge()
  public let bytesWritten = Counter()
  public let evictedFiles = Counter()
  public let evictedBytes = Counter()
  /// Files that were read and not kept, because what the disk holds is worth more.
  public let cacheBypassedFiles = Counter()
  /// Pieces whose CRC32C did not hold when read from disk; each was fetched again.
  public let corruptBlocks = Counter()
  /// Trouble with the cache folder (full, read-only, broken): a miss each, never a read error.
  public let diskErrors = Counter()
}

public final class NameMetrics: Sendable {
  public let nodes = Gauge()
  public let listedDirectories = Gauge()
  public let bytes = Gauge()
  /// Names in the store that no path can reach (docs/semantics.md), each counted once a listing.
  public let hiddenNames = Counter()
  /// Folders that were listed before anybody asked.
  public let prefetchedListings = Counter()
  /// Folders whose listing an earlier mount had kept.
  public let restoredListings = Counter()
  /// Times that more names had to be dropped by the kernel than could wait, and all of a folder, or of the
  /// mount, were dropped instead.
  public let invalidationOverflows = Counter()
  /// Objects of a snapshot or manifest that the store no longer has as they were.
  public let staleObjects = Counter()
}
