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
  private let bytes = Bytes()
  /// Reads that were answered at once.
  public let hits = Counter()
  public let reads = Counter()
  private let waits = Waits()
  private let stall = Lock(Stall())

  /// What its reads were answered from.
  private struct Bytes {
    let fromMemory = Counter()
    let fromDisk = Counter()
    let fromStore = Counter()
  }

  /// What its requests waited for, nanoseconds, and how long its reads took.
  private struct Waits {
    /// Bucket n: less than 2^n microseconds; the last has the rest, from half a minute on.
    static let buckets = 26

    let byCause = WaitCause.allCases.map { _ in Counter() }
    let latencies = (0..<Self.buckets).map { _ in Counter() }
    /// Waits of requests for metadata for our own rate limits. `byCause` has those of reads.
    let limitedMetadata = Counter()

    func ended(after nanoseconds: Int64) {
      let bits = 64 - max(0, nanoseconds / 1000).leadingZeroBitCount
      latencies[min(bits, Self.buckets - 1)].add()
    }

    func add(_ nanoseconds: Int64, for cause: WaitCause) {
      if nanoseconds > 0 { byCause[cause.index].add(UInt64(nanoseconds)) }
    }

    var all: [Counter] { [limitedMetadata] + byCause + latencies }

    func report(into report: inout CallerReport) {
      for cause in WaitCause.allCases {
        report.waitSeconds[cause.rawValue] = Double(byCause[cause.index].count) / 1e9
      }
      let limited = limitedMetadata.count
      report.metadataLimitSeconds = Double(limited) / 1e9
      let limit = byCause[WaitCause.limit.index].count
      report.waitSeconds[WaitCause.limit.rawValue] = Double(limit + limited) / 1e9
      let ofReads = WaitCause.allCases.reduce(UInt64(0)) {
        $0 + ($1 == .listing ? 0 : byCause[$1.index].count)
      }
      report.readWaitSeconds = Double(ofReads) / 1e9
      report.latencyBuckets = latencies.map(\.count)
    }
  }

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
    (isFromDisk ? self.bytes.fromDisk : self.bytes.fromMemory).add(bytes)
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
    case .memory: bytes.fromMemory.add(read.bytes)
    case .disk: bytes.fromDisk.add(read.bytes)
    case .store: bytes.fromStore.add(read.bytes)
    }
    var total: Int64 = 0
    for (cause, time) in read.times {
      waited(time, for: cause)
      total += time
    }
    waits.ended(after: total)
  }

  /// A request for metadata is answered; of its wait so much was due to our own rate limits.
  public func waitedForMetadata(_ nanoseconds: Int64, limited: Int64) {
    let limited = min(max(0, limited), nanoseconds)
    waited(nanoseconds - limited, for: .listing)
    if limited > 0 { waits.limitedMetadata.add(UInt64(limited)) }
  }

  public func waited(_ nanoseconds: Int64, for cause: WaitCause) {
    waits.add(nanoseconds, for: cause)
  }

  /// Adds what another process has counted until `now`, as `since`.
  public func absorb(_ other: CallerAccount, at now: Int64) {
    for (mine, its) in zip(all, other.all) { mine.add(its.count) }
    let stalled = other.stall.withLock { $0.total(at: now) }
    stall.withLock { $0.total += stalled }
  }

  private var all: [Counter] {
    [
      opens, passthroughBytes, bytes.fromMemory, bytes.fromDisk, bytes.fromStore, hits, reads,
    ] + waits.all
  }

  /// `now`: as `since`.
  public func report(at now: Int64) -> CallerReport {
    var report = CallerReport(pid: pid, name: name, seconds: Double(max(0, now - since)) / 1e9)
    report.parent = parent
    report.opens = opens.count
    report.passthroughBytes = passthroughBytes.count
    report.bytesFromMemory = bytes.fromMemory.count
    report.bytesFromDisk = bytes.fromDisk.count
    report.bytesFromStore = bytes.fromStore.count
    report.reads = reads.count
    report.hits = hits.count
    waits.report(into: &report)
    // Answered at once: in a few microseconds.
    report.latencyBuckets[3] += report.hits
    report.stalledSeconds = stall.withLock { Double($0.total(at: now)) / 1e9 }
    report.derive()
    return report
  }
}
