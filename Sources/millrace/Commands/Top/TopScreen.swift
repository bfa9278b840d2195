import Control
import Metrics
import Posix
import ReadEngine

/// What `millrace top` shows: the difference of two reports. Pure.
enum TopScreen {
  /// Of the table without quantiles; a terminal of 80 columns has it whole. The last column is left empty, since
  /// erasing to the end of a full line takes its last character on some terminals.
  static let width = 79
  private static let quantileWidth = 7

  struct Line: Equatable {
    var text: String
    var colour = Colour.plain
  }

  /// Of the interval between two reports: what the process, or the group of workers, that waited most waited, 0 to 1;
  /// nil: none has read.
  static func longestWait(_ now: StatsReport, since last: StatsReport) -> Double? {
    let seconds = seconds(now, since: last)
    return TopRow.rows(now.callers, since: last.callers, unfolds: false)
      .map { $0.waitShare(of: seconds) }.max()
  }

  private static func seconds(_ now: StatsReport, since last: StatsReport) -> Double {
    max(now.uptimeSeconds - last.uptimeSeconds, 0.001)
  }

  /// `size`: of the terminal; nil: as many lines and columns as there are. `unfolds`: a row for each process.
  static func screen(
    _ now: StatsReport, since last: StatsReport, size: (rows: Int, columns: Int)? = nil,
    unfolds: Bool = false, history: TopHistory = TopHistory()
  ) -> [Line] {
    let seconds = seconds(now, since: last)
    let rows = TopRow.rows(now.callers, since: last.callers, unfolds: unfolds)
    let columns = max((size?.columns ?? 100) - 1, 20)
    let hasQuantiles = columns >= width + 2 * quantileWidth
    var lines = [
      "\(now.source) at \(now.mountPoint), up \(Figure.uptime(now.uptimeSeconds)), "
        + StatsTable.health(now),
      read(rows.map(\.recent), seconds), store(now, last, seconds), cache(now),
      hits(now, rows.map(\.recent)),
    ]
    let legend = [
      "WAIT, % of time, by cause: LIST listings, QUEUE queued, LIMIT our rate limit,",
      "TTFB time to first byte, XFER bandwidth, DISK cache disk",
    ]
    lines = lines.flatMap { wrapped($0, to: columns) }
    if let line = history.line(columns) { lines.append(line) }
    lines += [""] + legend.flatMap { wrapped($0, to: columns) } + [""]
    var screen = lines.map { Line(text: $0) }
    screen.append(Line(text: header(hasQuantiles), colour: .bold))
    let verdict = wrapped(verdict(now, rows, seconds).text, to: columns)
    let end = [Line(text: "")] + verdict.map { Line(text: $0, colour: .bold) }
    let most = size.map { max(1, $0.rows - screen.count - end.count - 1) } ?? rows.count
    screen += rows.prefix(most).map { row in
      Line(
        text: line(row, seconds, hasQuantiles),
        colour: row.waitShare(of: seconds) >= highWait ? .red : .plain)
    }
    return screen + end
  }

  /// From here on a process that waits is shown in red: half of its time.
  private static let highWait = 0.5

  // MARK: Of the mount

  private static func read(_ callers: [CallerReport], _ seconds: Double) -> String {
    let bytes = callers.reduce(0) { $0 + $1.bytes }
    func share(_ part: (CallerReport) -> UInt64) -> String {
      bytes == 0
        ? "-" : Figure.percent(Double(callers.reduce(0) { $0 + part($1) }) / Double(bytes))
    }
    return "read \(Figure.rate(bytes, seconds)): \(share(\.passthroughBytes)) kernel, "
      + "\(share(\.bytesFromDisk)) disk, \(share(\.bytesFromMemory)) memory, "
      + "\(share(\.bytesFromStore)) store"
  }

  private static func store(_ now: StatsReport, _ last: StatsReport, _ seconds: Double) -> String {
    func more(_ name: String) -> UInt64 { (now.counters[name] ?? 0) &- (last.counters[name] ?? 0) }
    let gets = Double(more("store.getRequests")) / seconds
    let ahead = more("prefetch.backgroundBytes") &+ more("prefetch.orderedBytes")
    var text =
      "store \(Figure.rate(more("store.bytesFetched"), seconds)), "
      + "\(Figure.count(Int(saturating: gets.rounded()))) GET/s, "
      + "\(Figure.count(UInt64(clamping: now.gauges["store.inFlight"] ?? 0))) in flight; "
      + "prefetch \(Figure.rate(ahead, seconds))"
    if more("store.throttles") > 0 {
      text += "; throttled \(Figure.count(more("store.throttles")))"
    }
    return text
  }

  private static func cache(_ report: StatsReport) -> String {
    let engine = report.engine
    let memory = ByteSize.show(UInt64(clamping: engine.memoryBytes))
    let held =
      report.cacheDirectory == nil
      ? "no cache on disk, \(memory) in memory"
      : "cache \(StatsTable.cacheSize(report)), \(memory) in memory"
    return "\(held); \(StatsTable.epoch(engine))"
  }

  /// Quantiles are of the reads that the daemon saw; those of files open by passthrough are the kernel's.
  private static func hits(_ report: StatsReport, _ callers: [CallerReport]) -> String {
    var all = CallerReport(pid: 0, name: "", seconds: 0)
    for caller in callers { all.add(caller) }
    return
      "\(StatsTable.hitRatio(report.engine)); read latency p50 \(Figure.latency(all.latency(0.5))), "
      + "p99 \(Figure.latency(all.latency(0.99)))"
  }

  static func verdict(_ now: StatsReport, _ rows: [TopRow], _ seconds: Double) -> TopVerdict {
    var verdict = TopVerdict(mountPoint: now.mountPoint, source: now.source)
    verdict.unreachableSeconds = now.store.unreachableSeconds
    verdict.isThrottled = now.store.isThrottled
    verdict.lastError = now.store.lastError
    verdict.bytes = rows.reduce(0) { $0 + $1.recent.bytes }
    verdict.opens = rows.reduce(0) { $0 + $1.recent.opens }
    verdict.hitRatio = now.engine.estimatedHitRatio
    verdict.hitRatioAtDoubleSize = now.engine.estimatedHitRatioAtDoubleSize
    if let first = rows.max(by: { $0.waitShare(of: seconds) < $1.waitShare(of: seconds) }) {
      verdict.name = first.name
      verdict.waitShare = first.waitShare(of: seconds)
      for cause in WaitCause.allCases {
        verdict.causes[cause] = first.waitShare(of: seconds, for: cause)
      }
    }
    return verdict
  }

  // MARK: The table

  private static let nameWidth = 15
  private static let columns: [(String, Int)] =
    [("PID", 8), ("OPEN/S", 7), ("READ/S", 7), ("HIT", 5), ("WAIT", 5)]
    + WaitCause.allCases.map { ($0.column, $0.column.count + 1) }

  private static func header(_ hasQuantiles: Bool) -> String {
    row("COMMAND", columns.map(\.0) + (hasQuantiles ? ["P50", "P99"] : []))
  }

  private static func line(_ row: TopRow, _ seconds: Double, _ hasQuantiles: Bool) -> String {
    let recent = row.recent
    var cells = [
      row.processes > 1 ? "x\(row.processes)" : row.pid == 0 ? "-" : "\(row.pid)",
      Figure.compact(UInt64(saturating: (Double(recent.opens) / seconds).rounded())),
      Figure.compact(UInt64(saturating: Double(recent.bytes) / seconds)),
      row.hitRatio.map(Figure.cell) ?? "-", Figure.cell(row.waitShare(of: seconds)),
    ]
    cells += WaitCause.allCases.map { Figure.cell(row.waitShare(of: seconds, for: $0)) }
    if hasQuantiles {
      cells += [Figure.latency(recent.latency(0.5)), Figure.latency(recent.latency(0.99))]
    }
    return self.row(row.name, cells)
  }

  private static func row(_ name: String, _ cells: [String]) -> String {
    let name = String(name.prefix(nameWidth))
    var line = name + String(repeating: " ", count: nameWidth - name.count)
    let widths = columns.map(\.1) + [quantileWidth, quantileWidth]
    for (cell, width) in zip(cells, widths) {
      line += String(repeating: " ", count: max(width - cell.count, 0)) + cell
    }
    return line
  }

  /// Lines of at most `columns` characters, broken at blanks.
  static func wrapped(_ text: String, to columns: Int) -> [String] {
    var lines: [String] = []
    var line = ""
    for word in text.split(separator: " ") {
      if !line.isEmpty, line.count + 1 + word.count > columns {
        lines.append(line)
        line = ""
      }
      line += (line.isEmpty ? "" : " ") + word
    }
    return line.isEmpty ? lines : lines + [line]
  }
}
