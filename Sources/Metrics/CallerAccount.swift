import Posix

/// What one process asked of a mount, and what it waited for.
public final class CallerAccount: Sendable {
  /// 0: processes that cannot be seen from here, or ended long ago.
  public let pid: Int32
  public let name: String
  /// The process that started it, 0 where unknown: workers of one loader have one parent.
  public let parent: Int32
  /// Nanoseconds of the monotonic clock.
  public let since: Int64

  public let opens = Counter()
  /// Sizes of files that the kernel reads by itself.
  public let passthroughBytes = Counter()
  public let bytesFromMemory = Counter()
  public let bytesFromDisk = Counter()
  public let bytesFromStore = Counter()
  /// Reads that were answered at once.
  public let hits = Counter()
  public let reads = Counter()
  private let waits = WaitCause.allCases.map { _ in Counter() }
  private let latencies = (0..<CallerAccount.buckets).map { _ in Counter() }
  /// Waits of requests for metadata for our own rate limits, nanoseconds. `waits` has those of reads.
  private let limitedMetadata = Counter()
  private let stall = Lock(Stall())

  /// Reads that wait at this moment, and the time in which there was one.
  private struct Stall {
    var waiting = 0
    var since: Int64 = 0
    var total: Int64 = 0
    /// The latest moment that a report was made for. No stall begins or ends before: its time would decrease.
    var reported: Int64 = 0

    mutating func total(at now: Int64) -> Int64 {
      reported = max(reported, now)
      return total + (waiting > 0 ? max(0, reported - since) : 0)
    }
  }

  /// Bucket n: less than 2^n microseconds; the last has the rest, from half a minute on.
  private static let buckets = 26

  public init(pid: Int32, name: String, parent: Int32 = 0, since: Int64) {
    self.pid = pid
    self.name = name
    self.parent = parent
    self.since = since
  }

  /// A read that did not wait.
  @inline(__always)
  public func hit(_ bytes: Int, isFromDisk: Bool) {
    hits.add()
    reads.add()
    (isFromDisk ? bytesFromDisk : bytesFromMemory).add(bytes)
  }

  /// A read begins to wait. `now`: as `since`.
  public func startsToWait(at now: Int64) {
    stall.withLock { stall in
      if stall.waiting == 0 { stall.since = max(now, stall.reported) }
      stall.waiting += 1
    }
  }

  /// A read waits no longer, answered or not.
  public func stopsWaiting(at now: Int64) {
    stall.withLock { stall in
      stall.waiting -= 1
      if stall.waiting == 0 { stall.total += max(0, max(now, stall.reported) - stall.since) }
    }
  }

  /// A read that waited is answered.
  public func waited(_ read: ReadWait, until now: Int64) {
    stopsWaiting(at: now)
    reads.add()
    switch read.source {
    case .memory: bytesFromMemory.add(read.bytes)
    case .disk: bytesFromDisk.add(read.bytes)
    case .store: bytesFromStore.add(read.bytes)
    }
    var total: Int64 = 0
    for (cause, time) in read.times {
      waited(time, for: cause)
      total += time
    }
    let bits = 64 - max(0, total / 1000).leadingZeroBitCount
    latencies[min(bits, Self.buckets - 1)].add()
  }

  /// A request for metadata is answered; of its wait so much was due to our own rate limits.
  public func waitedForMetadata(_ nanoseconds: Int64, limited: Int64) {
    let limited = min(max(0, limited), nanoseconds)
    waited(nanoseconds - limited, for: .listing)
    if limited > 0 { limitedMetadata.add(UInt64(limited)) }
  }

  public func waited(_ nanoseconds: Int64, for cause: WaitCause) {
    if nanoseconds > 0 { waits[cause.index].add(UInt64(nanoseconds)) }
  }

  /// Adds what another process has counted until `now`, as `since`.
  public func absorb(_ other: CallerAccount, at now: Int64) {
    for (mine, its) in zip(all, other.all) { mine.add(its.count) }
    let stalled = other.stall.withLock { $0.total(at: now) }
    stall.withLock { $0.total += stalled }
  }

  private var all: [Counter] {
    [
      opens, passthroughBytes, bytesFromMemory, bytesFromDisk, bytesFromStore, hits, reads,
      limitedMetadata,
    ]
      + waits + latencies
  }

  /// `now`: as `since`.
  public func report(at now: Int64) -> CallerReport {
    var report = CallerReport(pid: pid, name: name, seconds: Double(max(0, now - since)) / 1e9)
    report.parent = parent
    report.opens = opens.count
    report.passthroughBytes = passthroughBytes.count
    report.bytesFromMemory = bytesFromMemory.count
    report.bytesFromDisk = bytesFromDisk.count
    report.bytesFromStore = bytesFromStore.count
    report.reads = reads.count
    report.hits = hits.count
    for cause in WaitCause.allCases {
      report.waitSeconds[cause.rawValue] = Double(waits[cause.index].count) / 1e9
    }
    let limited = limitedMetadata.count
    report.metadataLimitSeconds = Double(limited) / 1e9
    let limit = waits[WaitCause.limit.index].count
    report.waitSeconds[WaitCause.limit.rawValue] = Double(limit + limited) / 1e9
    let ofReads = WaitCause.allCases.reduce(UInt64(0)) {
      $0 + ($1 == .listing ? 0 : waits[$1.index].count)
    }
    report.readWaitSeconds = Double(ofReads) / 1e9
    report.latencyBuckets = latencies.map(\.count)
    // Answered at once: in a few microseconds.
    report.latencyBuckets[3] += report.hits
    report.stalledSeconds = stall.withLock { Double($0.total(at: now)) / 1e9 }
    report.derive()
    return report
  }
}

/// What all processes together have counted: no number is ever smaller than before, as a report of each process,
/// of which some are ended, is not.
public struct ProcessTotals: Sendable {
  public var all: CallerReport
  /// By name of the process, sorted. Empty for those who may not see them.
  public var byName: [CallerReport]

  public init(all: CallerReport, byName: [CallerReport]) {
    self.all = all
    self.byName = byName
  }
}

/// What a program waits for.
public enum WaitCause: String, Sendable, CaseIterable, Codable {
  /// A directory's listing, or a look-up of one name.
  case listing
  /// Queued: other requests are in flight.
  case queue = "queued"
  /// Our own rate limit: `--max-bandwidth`, `--max-requests-per-second`.
  case limit
  /// Time to first byte.
  case firstByte = "ttfb"
  /// The rest of the bytes, after the first byte.
  case bandwidth
  case disk

  var index: Int { Self.allCases.firstIndex(of: self)! }
}

/// How a read that waited came to its end.
public struct ReadWait: Sendable {
  public enum Source: Sendable { case memory, disk, store }
  public var source: Source
  public var bytes: Int
  /// Nanoseconds of each cause.
  public var times: [(cause: WaitCause, nanoseconds: Int64)]

  public init(
    source: Source, bytes: Int, times: [(cause: WaitCause, nanoseconds: Int64)]
  ) {
    self.source = source
    self.bytes = bytes
    self.times = times
  }
}

/// One process in `millrace stats --json`. Sizes in bytes.
public struct CallerReport: Sendable, Codable {
  public var pid: Int32
  public var name: String
  /// Its parent process when it was seen first; 0: unknown.
  public var parent: Int32 = 0
  /// Since it was seen first.
  public var seconds: Double
  public var opens: UInt64 = 0
  public var passthroughBytes: UInt64 = 0
  public var bytesFromMemory: UInt64 = 0
  public var bytesFromDisk: UInt64 = 0
  public var bytesFromStore: UInt64 = 0
  public var reads: UInt64 = 0
  /// Reads answered at once.
  public var hits: UInt64 = 0
  /// In which at least one of its reads waited.
  public var stalledSeconds = 0.0
  /// By cause, summed over its requests: several may wait at once.
  public var waitSeconds: [String: Double] = [:]
  /// What reads waited for all causes, summed over reads.
  public var readWaitSeconds = 0.0
  /// Of `waitSeconds["limit"]`, what requests for metadata waited.
  public var metadataLimitSeconds = 0.0
  /// Of its time since it was seen first: all that it waited ("all"), and that by cause.
  public var waitShare: [String: Double] = [:]
  /// Of its bytes: "memory", "disk", "kernel" (read from the cache file without asking), "store".
  public var bytesShare: [String: Double] = [:]
  /// Within which half, 90 and 99 of 100 reads ended ("p50", "p90", "p99"), rounded up to a power of two.
  public var latencyMicroseconds: [String: UInt64] = [:]
  /// Reads by how long they took: bucket n has those of less than 2^n microseconds.
  public var latencyBuckets: [UInt64] = []

  public init(pid: Int32, name: String, seconds: Double) {
    self.pid = pid
    self.name = name
    self.seconds = seconds
  }

  public var bytes: UInt64 { passthroughBytes + bytesFromMemory + bytesFromDisk + bytesFromStore }

  /// Seconds in which it waited for this mount: for reads, and for metadata.
  public var waited: Double {
    stalledSeconds + (waitSeconds[WaitCause.listing.rawValue] ?? 0) + metadataLimitSeconds
  }

  /// Seconds of `waited` that a cause has: where several reads waited at once, they share the time.
  public func waited(for cause: WaitCause) -> Double {
    if cause == .listing { return waitSeconds[cause.rawValue] ?? 0 }
    let ofReads = WaitCause.allCases.reduce(0.0) {
      $0 + ($1 == .listing ? 0 : waitOfReads(for: $1))
    }
    let share = ofReads > 0 ? stalledSeconds * waitOfReads(for: cause) / ofReads : 0
    return share + (cause == .limit ? metadataLimitSeconds : 0)
  }

  private func waitOfReads(for cause: WaitCause) -> Double {
    max(0, (waitSeconds[cause.rawValue] ?? 0) - (cause == .limit ? metadataLimitSeconds : 0))
  }

  /// What follows from the rest, for those who read the JSON.
  mutating func derive() {
    let time = max(seconds, 1e-9)
    // Threads that wait for listings and for reads at the same time wait once.
    let span = max(time, waited)
    waitShare = ["all": waited / span]
    for cause in WaitCause.allCases { waitShare[cause.rawValue] = waited(for: cause) / span }
    let total = Double(max(bytes, 1))
    bytesShare = [
      "memory": Double(bytesFromMemory) / total, "disk": Double(bytesFromDisk) / total,
      "kernel": Double(passthroughBytes) / total, "store": Double(bytesFromStore) / total,
    ]
    latencyMicroseconds = [:]
    for (name, share) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)] {
      latencyMicroseconds[name] = latency(share)
    }
  }

  /// Microseconds within which such a share of the reads ended, rounded up to a power of two; nil: no read.
  public func latency(_ share: Double) -> UInt64? {
    let all = latencyBuckets.reduce(0, +)
    guard all > 0 else { return nil }
    var sum: UInt64 = 0
    for (bucket, count) in latencyBuckets.enumerated() {
      sum += count
      if Double(sum) >= share * Double(all) { return 1 << UInt64(bucket) }
    }
    return nil
  }

  /// Adds what another process did in the same time.
  public mutating func add(_ other: CallerReport) {
    seconds = max(seconds, other.seconds)
    metadataLimitSeconds += other.metadataLimitSeconds
    readWaitSeconds += other.readWaitSeconds
    opens &+= other.opens
    passthroughBytes &+= other.passthroughBytes
    bytesFromMemory &+= other.bytesFromMemory
    bytesFromDisk &+= other.bytesFromDisk
    bytesFromStore &+= other.bytesFromStore
    reads &+= other.reads
    hits &+= other.hits
    stalledSeconds += other.stalledSeconds
    waitSeconds.merge(other.waitSeconds) { $0 + $1 }
    let missing = other.latencyBuckets.count - latencyBuckets.count
    if missing > 0 { latencyBuckets += [UInt64](repeating: 0, count: missing) }
    for (bucket, count) in other.latencyBuckets.enumerated() { latencyBuckets[bucket] &+= count }
    derive()
  }

  /// What was added since an earlier report of the same process.
  public func since(_ earlier: CallerReport) -> CallerReport {
    var difference = self
    difference.seconds = seconds - earlier.seconds
    difference.opens = opens &- earlier.opens
    difference.passthroughBytes = passthroughBytes &- earlier.passthroughBytes
    difference.bytesFromMemory = bytesFromMemory &- earlier.bytesFromMemory
    difference.bytesFromDisk = bytesFromDisk &- earlier.bytesFromDisk
    difference.bytesFromStore = bytesFromStore &- earlier.bytesFromStore
    difference.reads = reads &- earlier.reads
    difference.hits = hits &- earlier.hits
    difference.stalledSeconds = stalledSeconds - earlier.stalledSeconds
    difference.metadataLimitSeconds = metadataLimitSeconds - earlier.metadataLimitSeconds
    difference.readWaitSeconds = readWaitSeconds - earlier.readWaitSeconds
    for (cause, time) in earlier.waitSeconds { difference.waitSeconds[cause, default: 0] -= time }
    difference.latencyBuckets = zip(latencyBuckets, earlier.latencyBuckets).map { $0 &- $1 }
    difference.derive()
    return difference
  }
}
