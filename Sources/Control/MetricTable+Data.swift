import Metrics
import Prefetch
import ReadEngine

/// The data: what readers got, what they waited for, and where the bytes came from.
extension MetricTable {
  // MARK: Reads

  static let reads: [Metric] = [
    Metric(
      .counter, "read_bytes_total",
      "Bytes read, by the tier that served them. kernel: sizes of the files opened by passthrough.",
      by: "tier",
      [
        "kernel": "fuse.passthroughBytes", "disk": "reads.bytesFromDisk",
        "memory": "reads.bytesFromMemory", "store": "reads.bytesFromStore",
      ]),
    Metric(
      .counter, "reads_total", "Reads that reached the daemon, by the tier that served them.",
      by: "tier",
      ["disk": "reads.hitsOnDisk", "memory": "reads.hitsInMemory", "store": "reads.misses"]),
    Metric(
      .histogram, "read_seconds",
      "Time of reads that reached the daemon, rounded up to a power of two of microseconds.",
      samples: histogram),
    Metric(.counter, "read_failures_total", "Reads that failed.", "reads.failures"),
    Metric(
      .counter, "read_timeouts_total", "Of the failed reads, those that exceeded --io-timeout.",
      "reads.timeouts"),
    Metric(.gauge, "reads_waiting", "Reads that wait at this moment.", "reads.parked"),
    Metric(.counter, "files_opened_total", "Files opened.", "reads.filesOpened"),
    Metric(
      .counter, "files_opened_cached_total",
      "Of the opened files, those that were completely cached.", "reads.filesOpenedFromDisk"),
    Metric(
      .counter, "passthrough_opens_total", "Files opened by passthrough.", "fuse.passthroughOpens"),
  ]

  /// Buckets from 8 microseconds, what a cached read takes, to half a minute.
  private static let firstBucket = 3

  @Sendable private static func histogram(_ report: StatsReport) -> [MetricSample] {
    let counts = report.sum.latencyBuckets
    var sum: UInt64 = 0
    var samples: [MetricSample] = []
    // The last bucket has no upper end.
    for (bucket, count) in counts.dropLast().enumerated() {
      sum &+= count
      guard bucket >= firstBucket else { continue }
      let end = Double(UInt64(1) << UInt64(bucket)) / 1e6
      samples.append(MetricSample(sum, [("le", "\(end)")], suffix: "_bucket"))
    }
    sum &+= counts.last ?? 0
    return samples + [
      MetricSample(sum, [("le", "+Inf")], suffix: "_bucket"),
      MetricSample(report.sum.readWaitSeconds, suffix: "_sum"),
      MetricSample(sum, suffix: "_count"),
    ]
  }

  // MARK: Waits

  static let waits: [Metric] = [
    Metric(
      .counter, "wait_seconds_total",
      "Seconds that requests waited, by cause, summed over requests: several may wait at the same time.",
      label: "cause"
    ) { report in
      WaitCause.allCases.map { cause in
        MetricSample(report.sum.waitSeconds[cause.rawValue] ?? 0, [("cause", cause.rawValue)])
      }
    },
    Metric(
      .counter, "stalled_seconds_total",
      "Seconds in which at least one read of a process waited, summed over processes."
    ) { report in [MetricSample(report.sum.stalledSeconds)] },
  ]

  // MARK: The store

  static let store: [Metric] = [
    Metric(
      .counter, "store_requests_total", "Requests to the store, by method.", by: "method",
      [
        "GET": "store.getRequests", "LIST": "store.listRequests", "HEAD": "store.headRequests",
      ]),
    Metric(
      .counter, "store_received_bytes_total", "Bytes of files received from the store.",
      "store.bytesFetched"),
    Metric(.counter, "store_errors_total", "Requests to the store that failed.", "store.errors"),
    Metric(.counter, "store_retries_total", "Retries of requests to the store.", "store.retries"),
    Metric(
      .counter, "store_throttles_total", "Responses 429 and 503 of the store.", "store.throttles"),
    Metric(.counter, "store_hedged_requests_total", "Hedged requests.", "store.hedges"),
    Metric(
      .counter, "store_hedged_requests_won_total",
      "Hedged requests whose second copy responded first.", "store.hedgesWon"),
    Metric(
      .counter, "store_rate_limited_requests_total",
      "Requests that waited for --max-bandwidth or --max-requests-per-second.",
      "store.rateLimitedRequests"),
    Metric(
      .counter, "store_connections_opened_total", "Connections opened to the store.",
      "store.connectionsOpened"),
    Metric(
      .gauge, "store_requests_in_flight", "Requests to the store in flight.", "store.inFlight"),
    Metric(
      .gauge, "store_requests_in_flight_limit",
      "Requests that may be in flight, as the store's responses allow; 0 before the first one.",
      "store.concurrencyLimit"),
    Metric(
      .counter, "store_verified_objects_total",
      "Objects compared with the store's checksum.", "store.objectsVerified"),
    Metric(
      .counter, "store_checksum_mismatches_total",
      "Objects that differed from the store's checksum; each was fetched again.",
      "store.checksumMismatches"),
    Metric(
      .gauge, "store_unreachable_seconds",
      "How long the store has not responded, or only with 429 and 503; 0 while it responds."
    ) { [MetricSample($0.store.unreachableSeconds)] },
    Metric(
      .gauge, "store_ttfb_seconds", "Time to first byte of the store, a low percentile."
    ) { $0.engine.network.ttfbSeconds.map { [MetricSample($0)] } ?? [] },
    Metric(
      .gauge, "store_connection_bytes_per_second", "Bandwidth of one connection to the store."
    ) { $0.engine.network.bytesPerSecond.map { [MetricSample($0)] } ?? [] },
  ]

  // MARK: The cache

  static let cache: [Metric] = [
    Metric(
      .gauge, "cache_bytes", "Bytes in the cache, by tier.", label: "tier",
      fields: ["cache.memoryBytes", "cache.diskBytes"]
    ) { report in
      [
        MetricSample(report.engine.memoryBytes, [("tier", "memory")]),
        MetricSample(report.engine.diskBytes, [("tier", "disk")]),
      ]
    },
    Metric(.gauge, "cache_files", "Files in the cache on disk.", "cache.diskFiles"),
    Metric(
      .counter, "cache_written_bytes_total", "Bytes written to the cache on disk.",
      "cache.bytesWritten"),
    Metric(.counter, "cache_evicted_files_total", "Files evicted.", "cache.evictedFiles"),
    Metric(.counter, "cache_evicted_bytes_total", "Bytes evicted.", "cache.evictedBytes"),
    Metric(
      .counter, "cache_bypassed_files_total",
      "Files that were read and not cached, because the cached ones are worth more.",
      "cache.cacheBypassedFiles"),
    Metric(
      .counter, "cache_corrupt_blocks_total",
      "Corrupt blocks of the cache; each was fetched again.", "cache.corruptBlocks"),
    Metric(
      .counter, "cache_disk_errors_total",
      "Errors of the cache's disk (full, read-only, broken); no read fails, each is a miss.",
      "cache.diskErrors"),
    Metric(
      .gauge, "cache_open_files", "Cache files kept open that no program has open.",
      "fuse.cachedOpenFiles"),
    Metric(.gauge, "epoch", "Passes over the data that were started.") {
      [MetricSample($0.engine.epoch)]
    },
    Metric(.gauge, "epoch_files", "Files of one epoch, estimated.") {
      [MetricSample($0.engine.epochFiles)]
    },
    Metric(.gauge, "epoch_bytes", "Bytes of one epoch, estimated.") {
      [MetricSample($0.engine.epochBytes)]
    },
    Metric(
      .gauge, "epoch_hit_ratio",
      "Estimated hit ratio of a shuffled epoch, with this cache (1x) and with one twice as large (2x); none before "
        + "the first epoch is complete.", label: "cache"
    ) { report in
      let ratios = [
        ("1x", report.engine.estimatedHitRatio),
        ("2x", report.engine.estimatedHitRatioAtDoubleSize),
      ]
      return ratios.compactMap { name, ratio in
        ratio.map { MetricSample($0, [("cache", name)]) }
      }
    },
  ]
}
