import Control
import Metrics
import Posix
import ReadEngine

/// What `millrace top` shows: the difference of two reports. Pure.
enum TopScreen {
  private static let causes: [(WaitCause, String)] = [
    (.listing, "LIST"), (.queue, "QUEUE"), (.firstByte, "STORE"), (.bandwidth, "LINE"),
    (.disk, "DISK"),
  ]

  /// `size`: of the screen; nil: as many lines as there are.
  static func lines(
    _ now: StatsReport, since last: StatsReport, size: (rows: Int, columns: Int)? = nil
  ) -> [String] {
    let seconds = max(now.uptimeSeconds - last.uptimeSeconds, 0.001)
    let before = Dictionary(last.callers.map { (Key($0), $0) }, uniquingKeysWith: { $1 })
    let callers = now.callers.map { caller in
      let earlier = before[Key(caller)]
      return (all: caller, recent: earlier.map { caller.since($0) } ?? caller)
    }.sorted {
      ($0.recent.waited, $0.recent.bytes, $0.all.bytes)
        > ($1.recent.waited, $1.recent.bytes, $1.all.bytes)
    }
    var lines = [
      "\(now.source) at \(now.mountPoint), up \(StatsTable.uptime(now.uptimeSeconds))",
      total(callers.map(\.recent), seconds), store(now, last, seconds), cache(now), "",
      "WAIT: share of the time spent waiting; LIST listings, QUEUE a turn, STORE its first byte,",
      "LINE the rest of the bytes, DISK this machine's. P50, P99: how long a read takes.", "",
      row(
        ["PID", "OPENS/S", "READ/S", "HIT", "WAIT"] + causes.map(\.1) + ["P50", "P99", "COMMAND"]),
    ]
    let most = size.map { max(1, $0.rows - lines.count - 1) } ?? callers.count
    lines += callers.prefix(most).map { line($0.recent, $0.all, seconds) }
    return lines
  }

  private struct Key: Hashable {
    var pid: Int32
    var name: String
    init(_ caller: CallerReport) {
      pid = caller.pid
      name = caller.name
    }
  }

  private static func total(_ callers: [CallerReport], _ seconds: Double) -> String {
    let bytes = callers.reduce(0) { $0 + $1.bytes }
    func share(_ part: (CallerReport) -> UInt64) -> String {
      bytes == 0 ? "-" : percent(Double(callers.reduce(0) { $0 + part($1) }) / Double(bytes))
    }
    return "read \(rate(bytes, seconds)): \(share(\.bytesFromMemory)) from memory, "
      + "\(share(\.bytesFromDisk)) from disk, \(share(\.bytesPassed)) by the kernel, "
      + "\(share(\.bytesFromStore)) waited for the store"
  }

  private static func store(_ now: StatsReport, _ last: StatsReport, _ seconds: Double) -> String {
    func more(_ name: String) -> UInt64 { (now.counters[name] ?? 0) &- (last.counters[name] ?? 0) }
    let gets = Double(more("store.getRequests")) / seconds
    let ahead = more("prefetch.filledBytes") + more("prefetch.orderedBytes")
    return
      "store \(rate(more("store.bytesFetched"), seconds)), \(Int(saturating: gets.rounded())) GET/s, "
      + "\(now.gauges["store.inFlight"] ?? 0) at once; ahead of readers \(rate(ahead, seconds))"
  }

  private static func cache(_ report: StatsReport) -> String {
    let engine = report.engine
    var text =
      "cache \(ByteSize.show(engine.diskBytes)) on disk, "
      + "\(ByteSize.show(UInt64(max(0, engine.memoryBytes)))) in memory; epoch \(engine.epoch)"
    if engine.epochFiles > 0 {
      text += " of \(counted(engine.epochFiles, "file")), \(ByteSize.show(engine.epochBytes))"
    }
    if let share = engine.foundShare, let twice = engine.foundShareOfTwice {
      text += "; it holds \(percent(share)) of an epoch, one twice as large \(percent(twice))"
    }
    return text
  }

  private static func line(_ recent: CallerReport, _ all: CallerReport, _ seconds: Double) -> String
  {
    let found = recent.bytes - recent.bytesFromStore
    let hit = recent.bytes == 0 ? "-" : percent(Double(found) / Double(recent.bytes))
    let waits = causes.map { cause, _ in
      percent(recent.waited(for: cause) / seconds)
    }
    // Of all the time, where nothing was read just now.
    let timed = recent.reads > 0 ? recent : all
    return row(
      [
        all.pid == 0 ? "-" : "\(all.pid)",
        "\(Int(saturating: (Double(recent.opens) / seconds).rounded()))",
        rate(recent.bytes, seconds), hit, percent(recent.waited / seconds),
      ] + waits + [duration(timed.latency(0.5)), duration(timed.latency(0.99)), all.name])
  }

  private static func row(_ cells: [String]) -> String {
    let widths = [8, 8, 12, 6, 6, 6, 6, 6, 6, 6, 8, 8]
    var line = ""
    for (cell, width) in zip(cells, widths) {
      line += String(repeating: " ", count: max(width - cell.count, 0)) + cell
    }
    return line + "  " + (cells.last ?? "")
  }

  static func percent(_ share: Double) -> String { "\(Int(saturating: (share * 100).rounded()))%" }

  private static func rate(_ bytes: UInt64, _ seconds: Double) -> String {
    ByteSize.show(UInt64(saturating: Double(bytes) / seconds)) + "/s"
  }

  /// "<16 us", "<33 ms": a read took less than so long.
  static func duration(_ microseconds: UInt64?) -> String {
    guard let microseconds else { return "-" }
    if microseconds < 1000 { return "<\(microseconds) us" }
    if microseconds < 1_000_000 { return "<\(microseconds / 1000) ms" }
    return "<\(microseconds / 1_000_000) s"
  }
}
