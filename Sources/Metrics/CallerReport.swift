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
