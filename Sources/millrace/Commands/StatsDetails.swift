import Control
import FileSystem
import Metrics
import Posix
import Prefetch
import ReadEngine

/// What `millrace stats --all` prints below the first lines.
enum StatsDetails {
  static func lines(_ report: StatsReport) -> [String] {
    [served, store, prefetched, waiting, metadata, reads, sizes].flatMap { [""] + $0(report) }
  }

  private static func served(_ report: StatsReport) -> [String] {
    let served = StatsTable.Served(report)
    func line(_ name: String, _ bytes: UInt64, _ reads: String) -> String {
      row(name, ByteSize.show(bytes), served.share(bytes), reads)
    }
    return [
      "Served by",
      line("kernel", served.kernel, passthrough(report)),
      line("disk", served.disk, number(report, "reads.hitsOnDisk", "read")),
      line("memory", served.memory, number(report, "reads.hitsInMemory", "read")),
      line("store", served.store, number(report, "reads.misses", "read")),
    ]
  }

  /// Opens, or why there are none.
  private static func passthrough(_ report: StatsReport) -> String {
    let state = report.session["passthrough"] ?? "off"
    return state == "on"
      ? "passthrough: \(number(report, "fuse.passthroughOpens", "open"))" : "passthrough \(state)"
  }

  private static func store(_ report: StatsReport) -> [String] {
    let inFlight = report.gauges["store.inFlight"] ?? 0
    let limit = report.gauges["store.concurrencyLimit"] ?? 0
    var lines = [
      "Store",
      row(
        "requests", count(report, "store.getRequests") + " GET",
        count(report, "store.listRequests") + " LIST",
        count(report, "store.headRequests") + " HEAD"),
      row("fetched", ByteSize.show(report.counters["store.bytesFetched"] ?? 0)),
      row("network", network(report.engine.network)),
      row(
        "in flight",
        Figure.count(UInt64(clamping: inFlight))
          + (limit == 0 ? "" : " / \(Figure.count(UInt64(clamping: limit)))"), "",
        "throttled (429/503) \(count(report, "store.throttles"))"),
      row("retries", count(report, "store.retries")),
      row("hedged", count(report, "store.hedges"), "", "\(count(report, "store.hedgesWon")) won"),
      row(
        "checksums", number(report, "store.objectsVerified", "object"), "verified",
        "\(count(report, "store.checksumMismatches")) mismatches"),
      row("errors", count(report, "store.errors")),
    ]
    if let error = report.store.lastError { lines.append(row("last error", error)) }
    return lines
  }

  /// "TTFB 20 ms, 90 MB/s per connection; 16 connections per stream, 8 MiB requests".
  private static func network(_ network: LinkReport) -> String {
    var measured: [String] = []
    if let ttfb = network.ttfbSeconds { measured.append("TTFB \(Figure.decimal(ttfb * 1000)) ms") }
    if let rate = network.bytesPerSecond {
      measured.append("\(Figure.decimal(rate / 1e6)) MB/s per connection")
    }
    let plan =
      "\(counted(network.connections, "connection")) per stream, "
      + "\(ByteSize.show(UInt64(clamping: network.rangeBytes))) requests"
    return measured.isEmpty ? plan : measured.joined(separator: ", ") + "; " + plan
  }

  private static func prefetched(_ report: StatsReport) -> [String] {
    func line(_ name: String, _ bytes: String, _ files: String, _ remark: String) -> String {
      row(
        name, ByteSize.show(report.counters["prefetch.\(bytes)"] ?? 0),
        number(report, "prefetch.\(files)", "file"), remark)
    }
    let memory = report.orders.reduce(0) { $0 + UInt64(clamping: $1.memory) }
    let engine = report.engine
    return [
      "Prefetched",
      line("background", "backgroundBytes", "backgroundFiles", amplification(report.prefetch)),
      line("orders", "orderedBytes", "orderedFiles", "\(ByteSize.show(memory)) of memory"),
    ]
      + report.orders.map { order in
        row(
          order.name.isEmpty ? "  order" : "  \(order.name)",
          "\(Figure.count(order.opened))/\(Figure.count(order.files))", "opened",
          "\(Figure.count(order.late)) late, \(Figure.count(order.notFound)) not found")
      } + [
        row(
          "epoch", "\(engine.epoch)", counted(engine.epochFiles, "file"),
          ByteSize.show(engine.epochBytes)),
        row("estimated", StatsTable.hitRatio(engine)),
      ]
  }

  /// "amplification 4.2x (budget 16x)": bytes prefetched for each byte that readers requested.
  static func amplification(_ prefetch: FillReport) -> String {
    if prefetch.policy == FillPolicy.off.rawValue { return "off" }
    let bound = prefetch.budget.map { "budget \(Figure.decimal($0))x" } ?? prefetch.policy
    guard prefetch.requestedBytes > 0 else { return bound }
    let ratio = Double(prefetch.backgroundBytes) / Double(prefetch.requestedBytes)
    return "amplification \(Figure.decimal(ratio))x (\(bound))"
  }

  private static func waiting(_ report: StatsReport) -> [String] {
    let waits = StatsTable.Waits(report.callers)
    return ["Waiting, all processes (millrace top shows each)"]
      + waits.byCause.map { cause, seconds in
        row(
          cause.title, Figure.duration(seconds), Figure.percent(waits.share(seconds)))
      }
  }

  private static func metadata(_ report: StatsReport) -> [String] {
    let stale = report.counters["metadata.staleObjects"] ?? 0
    var lines = [
      "Metadata",
      row(
        "directories", "\(Figure.count(report.fileSystem.listedDirectories)) cached",
        "\(count(report, "metadata.prefetchedListings")) prefetched",
        "\(count(report, "metadata.restoredListings")) restored from disk"),
      row(
        "inodes", "\(Figure.count(report.fileSystem.nodes))", "in kernel",
        "names not representable \(count(report, "metadata.hiddenNames"))"),
    ]
    if stale > 0 {
      lines.append(
        row(
          "stale objects", Figure.count(stale), "", "changed or deleted in the store: see the log"))
    }
    return lines
  }

  private static func reads(_ report: StatsReport) -> [String] {
    [
      "Reads", row("failed", count(report, "reads.failures")),
      row("timed out", count(report, "reads.timeouts")),
      row("files opened", count(report, "reads.filesOpened")),
    ]
  }

  private static func sizes(_ report: StatsReport) -> [String] {
    func line(_ name: String, _ bytes: Int, _ limit: Int) -> String {
      row(
        name, ByteSize.show(UInt64(clamping: bytes)), "of",
        ByteSize.show(UInt64(clamping: limit)))
    }
    var lines = [
      "Sizes", line("memory", report.engine.memoryBytes, report.limits.memory),
      line("metadata", report.fileSystem.bytes, report.limits.metadata),
    ]
    if let directory = report.cacheDirectory {
      lines.append(row("disk", StatsTable.cacheSize(report) + "  " + directory))
    }
    lines.append(
      row(
        "process", ByteSize.show(report.residentBytes), "peak",
        ByteSize.show(report.peakResidentBytes)))
    return lines
  }

  // MARK: Cells

  private static func count(_ report: StatsReport, _ name: String) -> String {
    Figure.count(report.counters[name] ?? 0)
  }

  private static func number(_ report: StatsReport, _ name: String, _ noun: String) -> String {
    counted(Int(clamping: report.counters[name] ?? 0), noun)
  }

  private static func row(_ cells: String...) -> String {
    let widths = [13, 12, 13, 0]
    let padded = zip(cells, widths).map { cell, width in
      cell + String(repeating: " ", count: max(width - cell.count, 0))
    }
    var line = "  " + padded.joined(separator: "  ")
    while line.last == " " { line.removeLast() }
    return line
  }
}
