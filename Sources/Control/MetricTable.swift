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

  typealias Metric = MetricDefinition

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
