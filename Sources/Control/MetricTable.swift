import Metrics
import Prefetch
import ReadEngine

/// Every metric that a mount has. Counters of `Metrics` that are missing here fail a test; docs/metrics.md shows this
/// table, and a test compares the two.
///
/// The number of series is bounded: labels have the values that stand here, but for `process`, which has at most 64
/// names and "(other)".
public enum MetricTable {
  public static let all: [MetricDefinition] =
    [mount, reads, waits, store, cache, metadata, prefetch, orders, fuse, processes].flatMap { $0 }

  /// What `millrace exporter` adds.
  public static let ofExporter = [up, omitted]

  static let up = MetricDefinition(
    .gauge, "mount_up",
    "Whether a mount's daemon responded to the exporter within a second; its other metrics are missing if not."
  ) { _ in [] }

  static let omitted = MetricDefinition(
    .gauge, "exporter_mounts_omitted",
    "Mounts beyond the first 256: they have no metrics."
  ) { _ in [] }

  private typealias Metric = MetricDefinition

  // MARK: The mount

  private static let mount: [Metric] = [
    Metric(.gauge, "build_info", "The daemon's version, as a label; always 1.", label: "version") {
      [MetricSample(1, [("version", $0.version)])]
    },
    Metric(.gauge, "uptime_seconds", "Seconds since the mount.") {
      [MetricSample($0.uptimeSeconds)]
    },
    Metric(.gauge, "resident_memory_bytes", "Resident memory of the daemon.") {
      [MetricSample($0.residentBytes)]
    },
    Metric(.gauge, "resident_memory_peak_bytes", "Peak resident memory of the daemon.") {
      [MetricSample($0.peakResidentBytes)]
    },
    Metric(
      .gauge, "limit_bytes",
      "Limits in force: memory of blocks, memory of metadata, the cache on disk, and the size that the cache can "
        + "reach on its disk.", label: "of"
    ) { report in
      let limits: [(String, UInt64?)] = [
        ("memory", UInt64(clamping: report.limits.memory)),
        ("metadata", UInt64(clamping: report.limits.metadata)),
        ("disk", report.limits.cache), ("disk_reachable", report.limits.cacheReachable),
      ]
      return limits.compactMap { name, value in
        // Without a limit there is none to show.
        guard let value, value < 1 << 60 else { return nil }
        return MetricSample(value, [("of", name)])
      }
    },
  ]

  // MARK: Reads

  private static let reads: [Metric] = [
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

  private static let waits: [Metric] = [
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

  private static let store: [Metric] = [
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

  private static let cache: [Metric] = [
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

  // MARK: Metadata

  private static let metadata: [Metric] = [
    Metric(.gauge, "metadata_bytes", "Memory of names and attributes.", "metadata.bytes"),
    Metric(.gauge, "inodes", "Inodes that the kernel holds.", "metadata.nodes"),
    Metric(
      .gauge, "listed_directories", "Directories whose listing is cached.",
      "metadata.listedDirectories"),
    Metric(
      .counter, "metadata_prefetched_listings_total", "Directories listed before they were opened.",
      "metadata.prefetchedListings"),
    Metric(
      .counter, "metadata_restored_listings_total", "Listings restored from disk.",
      "metadata.restoredListings"),
    Metric(
      .counter, "metadata_hidden_names_total", "Names of the store that a path cannot represent.",
      "metadata.hiddenNames"),
    Metric(
      .counter, "metadata_invalidation_overflows_total",
      "Overflows of the queue of invalidations, after which whole directories were invalidated.",
      "metadata.invalidationOverflows"),
    Metric(
      .counter, "metadata_stale_objects_total",
      "Objects of a snapshot or manifest that changed in the store.", "metadata.staleObjects"),
  ]

  // MARK: Prefetch and access orders

  private static let prefetch: [Metric] = [
    Metric(
      .counter, "prefetched_files_total",
      "Files prefetched, by cause: background prefetch, access orders, warm-ups.",
      by: "by",
      [
        "background": "prefetch.backgroundFiles", "order": "prefetch.orderedFiles",
        "warm": "prefetch.warmedFiles",
      ]),
    Metric(
      .counter, "prefetched_bytes_total", "Bytes prefetched, by cause.", by: "by",
      [
        "background": "prefetch.backgroundBytes", "order": "prefetch.orderedBytes",
        "warm": "prefetch.warmedBytes",
      ]),
    Metric(
      .counter, "prefetch_directories_total",
      "Directories and trees that background prefetch recognized as a data set.",
      "prefetch.prefetchedDirectories"),
    Metric(
      .counter, "requested_bytes_total",
      "Bytes that readers requested, to which the prefetch budget is applied."
    ) { [MetricSample($0.prefetch.requestedBytes)] },
  ]

  private static let orders: [Metric] = [
    Metric(.counter, "orders_total", "Access orders accepted.", "prefetch.orders"),
    Metric(.gauge, "orders_in_force", "Access orders in force.") {
      [MetricSample($0.orders.count)]
    },
    Metric(
      .gauge, "order_files", "Files of the access orders in force, by state.", label: "state"
    ) { report in
      [
        MetricSample(report.orders.reduce(0) { $0 + $1.files }, [("state", "all")]),
        MetricSample(report.orders.reduce(0) { $0 + $1.opened }, [("state", "opened")]),
        MetricSample(report.orders.reduce(0) { $0 + $1.ahead }, [("state", "ahead")]),
      ]
    },
    Metric(
      .gauge, "order_ahead_bytes", "Bytes prefetched for access orders and not read yet."
    ) { [MetricSample($0.orders.reduce(0) { $0 + $1.bytesAhead })] },
    Metric(
      .gauge, "order_memory_bytes", "Memory of the access orders in force.", "prefetch.orderMemory"),
    Metric(
      .counter, "order_late_opens_total",
      "Files that were opened before their access order had prefetched them.",
      "prefetch.orderLateOpens"),
    Metric(
      .counter, "order_paths_not_found_total", "Paths of access orders that are not files.",
      "prefetch.orderPathsNotFound"),
  ]

  // MARK: FUSE

  private static let fuse: [Metric] = [
    Metric(
      .counter, "fuse_requests_total", "Requests of the kernel, by operation.", by: "operation",
      [
        "lookup": "fuse.lookups", "getattr": "fuse.getattrs", "open": "fuse.opens",
        "read": "fuse.reads", "readdir": "fuse.readdirs", "forget": "fuse.forgets",
      ]),
    Metric(.counter, "fuse_errors_total", "Requests of the kernel that failed.", "fuse.errors"),
    Metric(
      .counter, "fuse_dropped_requests_total",
      "Requests of the kernel that a defect left without a reply.", "fuse.droppedRequests"),
  ]

  // MARK: Processes

  private static let processes: [Metric] = [
    process(.counter, "process_opens_total", "Files opened, by name of the process.") {
      MetricSample($0.opens, [("process", $1)])
    },
    process(.counter, "process_read_bytes_total", "Bytes read, by name of the process.") {
      MetricSample($0.bytes, [("process", $1)])
    },
    process(
      .counter, "process_waited_seconds_total",
      "Seconds that processes waited for reads and metadata, by name of the process."
    ) { MetricSample($0.waited, [("process", $1)]) },
  ]

  private static func process(
    _ kind: Metric.Kind, _ name: String, _ help: String,
    _ sample: @escaping @Sendable (CallerReport, String) -> MetricSample
  ) -> Metric {
    Metric(kind, name, help, label: "process") { report in
      report.callers.map { sample($0, $0.name) }
    }
  }
}
