import Control
import FileSystem
import Metrics
import Posix
import Prefetch
import ReadEngine

/// What `millrace stats` prints.
enum StatsTable {
  static func lines(_ report: StatsReport) -> [String] {
    func count(_ name: String) -> UInt64 { report.counters[name] ?? 0 }
    let sources = [
      ("memory", count("reads.bytesFromMemory"), count("reads.hitsInMemory")),
      ("disk", count("reads.bytesFromDisk"), count("reads.hitsOnDisk")),
      ("store", count("reads.bytesFromStore"), count("reads.misses")),
    ]
    let all = sources.reduce(0) { $0 + $1.1 }
    var lines = [
      "\(report.source) at \(report.mountPoint) (pid \(report.pid), up \(uptime(report.uptimeSeconds)))",
      "",
      "Bytes read from",
    ]
    for (name, bytes, reads) in sources {
      let share =
        all == 0 ? "-" : "\(UInt64(saturating: (Double(bytes) / Double(all) * 100).rounded())) %"
      lines.append(row(name, ByteSize.show(bytes), share, "\(reads) reads"))
    }
    lines += [
      row("passed through", "", "", passedThrough(report)),
      "", "Store",
      row(
        "requests", "\(count("store.getRequests")) GET", "\(count("store.listRequests")) list",
        "\(count("store.headRequests")) HEAD"),
      row("fetched", ByteSize.show(count("store.bytesFetched"))),
      row("a connection", connection(report.engine.link)),
      row("at once", atOnce(report), "asked for less \(count("store.throttles")) times"),
      row("retries", "\(count("store.retries"))"),
      row("asked twice", "\(count("store.hedges"))", hedgesWon(count("store.hedgesWon"))),
      row(
        "verified", counted(Int(clamping: count("store.objectsVerified")), "object"),
        "\(count("store.checksumMismatches")) did not fit"),
      row("errors", "\(count("store.errors"))"), "",
      "Fetched ahead",
      row(
        "fill", ByteSize.show(count("prefetch.filledBytes")),
        counted(Int(clamping: count("prefetch.filledFiles")), "file"), filled(report.fill)),
      row(
        "orders", ByteSize.show(count("prefetch.orderedBytes")),
        counted(Int(clamping: count("prefetch.orderedFiles")), "file"),
        "in memory \(ByteSize.show(report.orders.reduce(0) { $0 + UInt64(max(0, $1.memory)) }))"),
    ]
    lines += report.orders.map { order in
      row(
        order.name.isEmpty ? "  order" : "  \(order.name)", "\(order.opened) of",
        counted(order.files, "file"),
        "\(order.late) before they were fetched, \(order.unknown) unknown")
    }
    lines += [
      row(
        "epoch", "\(report.engine.epoch)", ByteSize.show(report.engine.epochBytes),
        counted(report.engine.epochFiles, "file")),
      row("found", found(report.engine)), "", "Waiting, of all processes (millrace top has each)",
      row("for listings", waited(report, .listing), "", "for a turn \(waited(report, .queue))"),
      row(
        "for the store", waited(report, .firstByte), "",
        "and for its bytes \(waited(report, .bandwidth))"),
      row("for the disk", waited(report, .disk)), "",
      "Names",
      row(
        "listed", counted(report.fileSystem.listedFolders, "folder"),
        "\(count("names.listedAhead")) ahead", "\(count("names.listingsFromDisk")) kept from before"
      ),
      row(
        "in the kernel", "\(report.fileSystem.nodes)", "hidden \(count("names.hiddenNames"))",
        changed(count("names.changedObjects"))), "",
      "Reads",
      row("failed", "\(count("reads.failures"))"), row("timed out", "\(count("reads.timeouts"))"),
      row("files opened", "\(count("reads.filesOpened"))"), "",
      "Sizes",
      limit(
        "memory", UInt64(max(report.engine.memoryBytes, 0)), UInt64(max(report.limits.memory, 0))),
      limit(
        "metadata", UInt64(max(report.fileSystem.bytes, 0)), UInt64(max(report.limits.metadata, 0))),
    ]
    if let folder = report.cacheFolder {
      lines.append(limit("disk", report.engine.diskBytes, report.limits.cache) + "  \(folder)")
    }
    lines.append(
      row(
        "process", ByteSize.show(report.residentBytes), "peak",
        ByteSize.show(report.peakResidentBytes)))
    return lines
  }

  private static func waited(_ report: StatsReport, _ cause: WaitCause) -> String {
    let seconds = report.callers.reduce(0) { $0 + $1.waited(for: cause) }
    return "\(rounded(seconds)) s"
  }

  private static func found(_ engine: EngineUsage) -> String {
    guard let share = engine.foundShare, let twice = engine.foundShareOfTwice else {
      return "known once an epoch is over"
    }
    return
      "\(TopScreen.percent(share)) of an epoch fits; \(TopScreen.percent(twice)) in twice as much"
  }

  /// What the kernel reads from cache files by itself, as far as it is known here.
  private static func passedThrough(_ report: StatsReport) -> String {
    let opens = report.counters["front.passthroughOpens"] ?? 0
    let bytes = report.counters["front.passthroughBytes"] ?? 0
    let state = report.session["passthrough"] ?? "off"
    return state == "on"
      ? "on: \(opens) opens of \(ByteSize.show(bytes)) in all; their reads are the kernel's" : state
  }

  /// "20 ms to the first byte, then 90 MB/s; 16 of them for a sequence, 8 MiB a request".
  private static func connection(_ link: LinkReport) -> String {
    let plan =
      "\(link.connections) of them for a sequence, \(ByteSize.show(UInt64(link.rangeBytes))) a request"
    guard let wait = link.firstByteSeconds else { return plan }
    let latency = "\(rounded(wait * 1000)) ms to the first byte"
    guard let rate = link.bytesPerSecond else { return "\(latency); \(plan)" }
    return "\(latency), then \(Int(saturating: (rate / 1e6).rounded())) MB/s; \(plan)"
  }

  private static func atOnce(_ report: StatsReport) -> String {
    let now = report.gauges["store.inFlight"] ?? 0
    let most = report.gauges["store.concurrencyLimit"] ?? 0
    return most == 0 ? "\(now)" : "\(now) of \(most)"
  }

  /// "4.2 bytes for each that was read, 16 at most".
  static func filled(_ fill: FillReport) -> String {
    if fill.policy == FillPolicy.off.rawValue { return "off" }
    var bound = fill.policy
    if let multiple = fill.multiple { bound = "\(rounded(multiple)) at most" }
    guard fill.askedBytes > 0 else { return bound }
    let ratio = Double(fill.filledBytes) / Double(fill.askedBytes)
    return "\(rounded(ratio)) bytes for each that was read, \(bound)"
  }

  private static func changed(_ count: UInt64) -> String {
    count == 0 ? "" : "\(count) no longer in the store as this mount shows them: see the log"
  }

  private static func hedgesWon(_ count: UInt64) -> String {
    count == 0 ? "" : "\(count) answered first the second time"
  }

  private static func rounded(_ value: Double) -> String {
    value >= 10
      ? "\(Int(saturating: value.rounded()))"
      : "\(Double(Int(saturating: (value * 10).rounded())) / 10)"
  }

  private static func limit(_ name: String, _ bytes: UInt64, _ limit: UInt64) -> String {
    row(name, ByteSize.show(bytes), "of", ByteSize.show(limit))
  }

  private static func row(_ cells: String...) -> String {
    let widths = [14, 12, 8, 0]
    let padded = zip(cells, widths).map { cell, width in
      cell + String(repeating: " ", count: max(width - cell.count, 0))
    }
    var line = "  " + padded.joined(separator: "  ")
    while line.last == " " { line.removeLast() }
    return line
  }

  /// "0.3 s", "12 s", "5 min".
  static func duration(_ seconds: Double) -> String {
    seconds < 10 ? "\(rounded(seconds)) s" : uptime(seconds)
  }

  static func uptime(_ seconds: Double) -> String {
    let seconds = Int(saturating: seconds)
    if seconds < 60 { return "\(seconds) s" }
    if seconds < 3600 { return "\(seconds / 60) min" }
    return "\(seconds / 3600) h \(seconds % 3600 / 60) min"
  }
}
