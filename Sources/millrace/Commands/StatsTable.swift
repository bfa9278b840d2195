import Control
import Metrics
import Posix
import Prefetch
import ReadEngine

/// What `millrace stats` prints: six lines that answer the usual questions. `StatsDetails` has the rest.
enum StatsTable {
  static func lines(_ report: StatsReport) -> [String] {
    [
      "\(report.source) at \(report.mountPoint), up \(Figure.uptime(report.uptimeSeconds)), "
        + health(report),
      row("Served", served(report)), row("Waiting", waiting(report.callers)),
      row("Store", store(report)), row("Cache", cache(report)), row("Now", now(report)),
    ]
  }

  private static func row(_ name: String, _ text: String) -> String {
    name + String(repeating: " ", count: 10 - name.count) + text
  }

  // MARK: The lines

  static func health(_ report: StatsReport) -> String {
    if report.store.unreachableSeconds > 0 { return unreachable(report.store) }
    let failures = report.counters["reads.failures"] ?? 0
    return failures == 0
      ? "healthy" : "\(Figure.count(failures)) read error\(failures == 1 ? "" : "s")"
  }

  /// "store unreachable for 75 s: connection refused".
  static func unreachable(_ store: StoreStatus) -> String {
    "store \(store.isThrottled ? "throttled" : "unreachable") for \(Figure.uptime(store.unreachableSeconds))"
      + (store.lastError.map { ": \($0)" } ?? "")
  }

  /// Bytes by the tier that served them. The kernel's: sizes of the files that it opened by passthrough, since
  /// reads of those are not seen here.
  struct Served {
    var kernel: UInt64
    var disk: UInt64
    var memory: UInt64
    var store: UInt64

    init(_ report: StatsReport) {
      func count(_ name: String) -> UInt64 { report.counters[name] ?? 0 }
      kernel = count("fuse.passthroughBytes")
      disk = count("reads.bytesFromDisk")
      memory = count("reads.bytesFromMemory")
      store = count("reads.bytesFromStore")
    }

    var all: UInt64 {
      kernel.addingSaturated(disk).addingSaturated(memory).addingSaturated(store)
    }

    func share(_ part: UInt64) -> String {
      all == 0 ? "-" : Figure.percent(Double(part) / Double(all))
    }
  }

  private static func served(_ report: StatsReport) -> String {
    let served = Served(report)
    guard served.all > 0 else { return "nothing yet" }
    return "\(ByteSize.show(served.all)): \(served.share(served.kernel)) kernel (passthrough), "
      + "\(served.share(served.disk)) disk, \(served.share(served.memory)) memory, "
      + "\(served.share(served.store)) store"
  }

  /// What all processes waited, and how long they were there.
  struct Waits {
    var seconds = 0.0
    var byCause: [(cause: WaitCause, seconds: Double)]
    var time = 0.0

    init(_ callers: [CallerReport]) {
      byCause = WaitCause.allCases.map { cause in
        (cause, callers.reduce(0) { $0 + $1.waited(for: cause) })
      }
      for caller in callers {
        seconds += caller.waited
        // One account has what ended processes waited, side by side.
        time += max(caller.seconds, caller.waited)
      }
    }

    func share(_ part: Double) -> Double { time > 0 ? part / time : 0 }
  }

  private static func waiting(_ callers: [CallerReport]) -> String {
    let waits = Waits(callers)
    let all =
      "\(Figure.duration(waits.seconds)), \(Figure.percent(waits.share(waits.seconds))) of the readers' time"
    let causes = waits.byCause.filter { waits.share($0.seconds) >= 0.0005 }
      .sorted { $0.seconds > $1.seconds }
      .map { "\($0.cause.title) \(Figure.percent(waits.share($0.seconds)))" }
    return causes.isEmpty ? all : "\(all): \(causes.joined(separator: ", "))"
  }

  private static func store(_ report: StatsReport) -> String {
    func count(_ name: String) -> UInt64 { report.counters["store.\(name)"] ?? 0 }
    var text =
      "\(ByteSize.show(count("bytesFetched"))) in \(Figure.count(count("getRequests"))) GET, "
      + "\(Figure.count(count("listRequests"))) LIST"
    if count("headRequests") > 0 { text += ", \(Figure.count(count("headRequests"))) HEAD" }
    text +=
      "; \(Figure.count(count("retries"))) retries, \(Figure.count(count("throttles"))) throttled"
    if count("errors") > 0 { text += ", \(Figure.count(count("errors"))) errors" }
    return text
  }

  private static func cache(_ report: StatsReport) -> String {
    guard let directory = report.cacheDirectory else {
      return "no cache on disk; memory "
        + "\(ByteSize.show(UInt64(clamping: report.engine.memoryBytes))) of "
        + ByteSize.show(UInt64(clamping: report.limits.memory))
    }
    return "\(cacheSize(report)) in \(directory), \(hitRatio(report.engine))"
  }

  /// "137 GiB of 189 GiB": what it holds, of what it can really reach.
  static func cacheSize(_ report: StatsReport) -> String {
    let held = ByteSize.show(report.engine.diskBytes)
    let reachable = min(report.limits.cacheReachable ?? .max, report.limits.cache)
    // Without a limit, and not measured.
    guard reachable < 1 << 60 else { return held }
    return "\(held) of \(ByteSize.show(reachable))"
  }

  static func hitRatio(_ engine: EngineUsage) -> String {
    guard let ratio = engine.estimatedHitRatio, let twice = engine.estimatedHitRatioAtDoubleSize
    else { return "hit ratio n/a (first epoch)" }
    return "hit ratio \(Figure.ratio(ratio)), \(Figure.ratio(twice)) with twice the cache"
  }

  private static func now(_ report: StatsReport) -> String {
    let engine = report.engine
    var parts = [epoch(engine)]
    if !report.orders.isEmpty {
      let opened = report.orders.reduce(0) { $0 + $1.opened }
      let files = report.orders.reduce(0) { $0 + $1.files }
      let late = report.orders.reduce(0) { $0 + $1.late }
      parts.append(
        "\(counted(report.orders.count, "order")) \(Figure.count(opened))/\(Figure.count(files)) opened, "
          + "\(Figure.count(late)) late")
    }
    parts.append("\(Figure.count(engine.fetchesInFlight)) in flight")
    parts.append("\(counted(engine.parkedReads, "read")) waiting")
    return parts.joined(separator: "; ")
  }

  /// "epoch 3 (480 files, 50.4 MiB)".
  static func epoch(_ engine: EngineUsage) -> String {
    if engine.epoch == 0 { return "no file opened yet" }
    guard engine.epochFiles > 0 else { return "epoch \(engine.epoch)" }
    return
      "epoch \(engine.epoch) (\(counted(engine.epochFiles, "file")), \(ByteSize.show(engine.epochBytes)))"
  }
}
