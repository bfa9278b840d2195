/// What one process asked of a mount, and what it waited for.
public final class CallerAccount: Sendable {
  /// 0: processes that cannot be seen from here, or ended long ago.
  public let pid: Int32
  public let name: String
  /// Nanoseconds of the monotonic clock.
  public let since: Int64

  public let opens = Counter()
  /// Sizes of files that the kernel reads by itself.
  public let bytesPassed = Counter()
  public let bytesFromMemory = Counter()
  public let bytesFromDisk = Counter()
  public let bytesFromStore = Counter()
  /// Reads that were answered at once.
  public let hits = Counter()
  public let reads = Counter()
  private let waits = WaitCause.allCases.map { _ in Counter() }
  private let latencies = (0..<CallerAccount.buckets).map { _ in Counter() }

  /// Bucket n: less than 2^n microseconds; the last has the rest, from half a minute on.
  private static let buckets = 26

  public init(pid: Int32, name: String, since: Int64) {
    self.pid = pid
    self.name = name
    self.since = since
  }

  /// A read that did not wait.
  @inline(__always)
  public func hit(_ bytes: Int, isFromDisk: Bool) {
    hits.add()
    reads.add()
    (isFromDisk ? bytesFromDisk : bytesFromMemory).add(bytes)
  }

  /// A read that waited.
  public func waited(_ read: ReadWait) {
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

  public func waited(_ nanoseconds: Int64, for cause: WaitCause) {
    if nanoseconds > 0 { waits[cause.index].add(UInt64(nanoseconds)) }
  }

  /// Takes over what an ended process had counted.
  public func absorb(_ other: CallerAccount) {
    for (mine, its) in zip(all, other.all) { mine.add(its.count) }
  }

  private var all: [Counter] {
    [opens, bytesPassed, bytesFromMemory, bytesFromDisk, bytesFromStore, hits, reads] + waits
      + latencies
  }

  /// `now`: as `since`.
  public func report(at now: Int64) -> CallerReport {
    var report = CallerReport(pid: pid, name: name, seconds: Double(max(0, now - since)) / 1e9)
    report.opens = opens.count
    report.bytesPassed = bytesPassed.count
    report.bytesFromMemory = bytesFromMemory.count
    report.bytesFromDisk = bytesFromDisk.count
    report.bytesFromStore = bytesFromStore.count
    report.reads = reads.count
    report.hits = hits.count
    for cause in WaitCause.allCases {
      report.waitSeconds[cause.rawValue] = Double(waits[cause.index].count) / 1e9
    }
    report.latencyBuckets = latencies.map(\.count)
    // Answered at once: in a few microseconds.
    report.latencyBuckets[3] += report.hits
    return report
  }
}

/// What a program waits for.
public enum WaitCause: String, Sendable, CaseIterable, Codable {
  /// A folder's listing, or one name's.
  case listing
  /// A turn: others' requests are under way.
  case queue
  case firstByte
  /// The rest of the bytes, once the first had come.
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
  /// Since it was seen first.
  public var seconds: Double
  public var opens: UInt64 = 0
  public var bytesPassed: UInt64 = 0
  public var bytesFromMemory: UInt64 = 0
  public var bytesFromDisk: UInt64 = 0
  public var bytesFromStore: UInt64 = 0
  public var reads: UInt64 = 0
  /// Reads answered at once.
  public var hits: UInt64 = 0
  /// By cause, of all its threads together.
  public var waitSeconds: [String: Double] = [:]
  /// Reads by how long they took: bucket n has those of less than 2^n microseconds.
  public var latencyBuckets: [UInt64] = []

  public init(pid: Int32, name: String, seconds: Double) {
    self.pid = pid
    self.name = name
    self.seconds = seconds
  }

  public var bytes: UInt64 { bytesPassed + bytesFromMemory + bytesFromDisk + bytesFromStore }
  public var waited: Double { waitSeconds.values.reduce(0, +) }

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

  /// What was added since an earlier report of the same process.
  public func since(_ earlier: CallerReport) -> CallerReport {
    var difference = self
    difference.seconds = seconds - earlier.seconds
    difference.opens = opens &- earlier.opens
    difference.bytesPassed = bytesPassed &- earlier.bytesPassed
    difference.bytesFromMemory = bytesFromMemory &- earlier.bytesFromMemory
    difference.bytesFromDisk = bytesFromDisk &- earlier.bytesFromDisk
    difference.bytesFromStore = bytesFromStore &- earlier.bytesFromStore
    difference.reads = reads &- earlier.reads
    difference.hits = hits &- earlier.hits
    for (cause, time) in earlier.waitSeconds { difference.waitSeconds[cause, default: 0] -= time }
    difference.latencyBuckets = zip(latencyBuckets, earlier.latencyBuckets).map { $0 &- $1 }
    return difference
  }
}
