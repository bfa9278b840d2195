import Control
import FileSystem
import Metrics
import Prefetch
import ReadEngine
import Testing

@testable import millrace

/// A report with what a test is about.
func statsReport(
  uptime: Double = 2, callers: [CallerReport] = [], counters: [String: UInt64] = [:],
  engine: EngineUsage = EngineUsage(), store: StoreStatus = StoreStatus(),
  limits: StatsReport.Limits = StatsReport.Limits(memory: 0, metadata: 0, cache: 0),
  cache: String? = nil, orders: [OrderReport] = []
) -> StatsReport {
  var parts = StatsReport.Parts(
    prefetch: FillReport(policy: "auto", budget: 16, backgroundBytes: 84, requestedBytes: 20))
  parts.store = store
  parts.engine = engine
  parts.orders = orders
  parts.callers = callers
  var report = StatsReport(
    of: StatsReport.Mount(
      source: "s3://b", mountPoint: "/mnt/data", socket: "/s", cacheDirectory: cache),
    by: StatsReport.Daemon(pid: 1, version: "1", uptimeSeconds: uptime), limits: limits,
    metrics: Metrics(), parts: parts)
  report.counters.merge(counters) { $1 }
  return report
}

extension TopScreen {
  /// The text alone.
  fileprivate static func lines(
    _ now: StatsReport, since last: StatsReport, size: (rows: Int, columns: Int)? = nil,
    unfolds: Bool = false
  ) -> [String] {
    screen(now, since: last, size: size, unfolds: unfolds).map(\.text)
  }
}

@Suite struct TopScreenTests {
  private func caller(
    _ pid: Int32, name: String = "python3", parent: Int32 = 0, store: UInt64, stalled: Double
  ) -> CallerReport {
    var caller = CallerReport(pid: pid, name: name, seconds: 10)
    caller.parent = parent
    caller.opens = store / 1024
    caller.bytesFromStore = store
    caller.stalledSeconds = stalled
    caller.waitSeconds = ["ttfb": stalled * 3, "bandwidth": stalled]
    caller.reads = 1
    caller.latencyBuckets = [0, 0, 0, 1]
    return caller
  }

  /// The rows between the header and the verdict, as words.
  private func rows(_ lines: [String]) throws -> [[String]] {
    let header = try #require(lines.firstIndex { $0.hasPrefix("COMMAND") })
    return lines[(header + 1)...].prefix { !$0.isEmpty }.map {
      $0.split(separator: " ").map(String.init)
    }
  }

  @Test func whoWaitsMostComesFirstWithItsCauses() throws {
    let last = statsReport(
      uptime: 10, callers: [caller(7, store: 0, stalled: 0), caller(8, store: 0, stalled: 0)])
    let now = statsReport(
      uptime: 12,
      callers: [caller(7, store: 2048, stalled: 0.2), caller(8, store: 20 << 20, stalled: 1.6)])
    let lines = TopScreen.lines(now, since: last)
    #expect(lines[0] == "s3://b at /mnt/data, up 12 s, healthy")
    let rows = try rows(lines)
    #expect(rows.map { $0[1] } == ["8", "7"])
    // Opens and bytes a second, hit ratio, all waiting, then listing, queued, limit, TTFB, transfer, disk.
    #expect(
      Array(rows[0][2...11])
        == ["10.0K", "10.0M", "0%", "80%", "0%", "0%", "0%", "60%", "20%", "0%"])
    #expect(rows[0].first == "python3")
    let text = lines.joined(separator: " ")
    #expect(text.contains("  python3 waits 80 % of its time; main cause: TTFB (60 %). "))
  }

  @Test func theTableFitsEightyColumnsAndEveryLineOfAnUsualScreenDoes() throws {
    var engine = EngineUsage()
    engine.diskBytes = 137 << 30
    engine.epoch = 3
    engine.epochFiles = 1_281_167
    engine.epochBytes = 137 << 30
    engine.estimatedHitRatio = 0.55
    engine.estimatedHitRatioAtDoubleSize = 1
    let workers = (1...8).map {
      caller(
        4_000_000 + $0, name: "pt_data_worker_", parent: 3_999_999, store: 20 << 30, stalled: 20)
    }
    let now = statsReport(
      uptime: 12, callers: workers, engine: engine,
      limits: StatsReport.Limits(
        memory: 1 << 30, metadata: 1 << 30, cache: 300 << 30, cacheReachable: 189 << 30),
      cache: "/var/cache/millrace")
    let last = statsReport(uptime: 10)
    for unfolds in [false, true] {
      let lines = TopScreen.lines(now, since: last, size: (24, 80), unfolds: unfolds)
      for line in lines { #expect(line.count < 80, "\(line)") }
      #expect(lines.contains { $0.hasPrefix("COMMAND") && $0.hasSuffix("DISK") })
    }
    // Narrower, all but the table is wrapped.
    let narrow = TopScreen.lines(now, since: last, size: (24, 60))
    let table = try #require(narrow.firstIndex { $0.hasPrefix("COMMAND") })
    for line in narrow[..<table] { #expect(line.count < 60, "\(line)") }
    #expect(narrow[..<table].joined(separator: " ").contains("p99"))
    let wide = TopScreen.lines(now, since: last, size: (24, 120))
    #expect(wide.contains { $0.hasSuffix("P99") })
  }

  @Test func workersOfOneParentAreARowUntilTheyAreUnfolded() throws {
    let workers = (1...4).map { caller(100 + $0, parent: 99, store: 1 << 20, stalled: 0.5) }
    let main = caller(99, parent: 1, store: 0, stalled: 0)
    let now = statsReport(uptime: 12, callers: workers + [main])
    let last = statsReport(uptime: 10)
    let folded = try rows(TopScreen.lines(now, since: last))
    #expect(folded.map { $0[1] } == ["x4", "99"])
    // Half a second of two each, and four times the bytes.
    #expect(folded[0][3] == "2.0M" && folded[0][5] == "25%")
    let all = try rows(TopScreen.lines(now, since: last, unfolds: true))
    #expect(all.map { $0[1] } == ["101", "102", "103", "104", "99"])
  }

  @Test func waitingIsNeverMoreThanAllOfTheTime() throws {
    var late = caller(7, store: 1 << 20, stalled: 1.9)
    late.waitSeconds["listing"] = 1.9
    let lines = TopScreen.lines(
      statsReport(uptime: 12, callers: [late]), since: statsReport(uptime: 10))
    let row = try #require(rows(lines).first)
    #expect(row[5] == "100%")
    let causes = row[6...11].compactMap { Int($0.dropLast()) }
    #expect(causes.count == 6 && causes.reduce(0, +) <= 101)
  }

  @Test func quantilesAreOfTheIntervalAndADashWithoutReads() throws {
    let before = caller(7, store: 0, stalled: 0)
    var after = before
    after.passthroughBytes = 50 << 20
    let lines = TopScreen.lines(
      statsReport(uptime: 12, callers: [after]), since: statsReport(uptime: 10, callers: [before]))
    let row = try #require(rows(lines).first)
    #expect(row.suffix(2) == ["-", "-"] && row[4] == "100%")
    #expect(lines.contains { $0.contains("100 % kernel") })
    #expect(lines.contains { $0.contains("p50 -, p99 -") })
  }

  @Test func aSmallScreenGetsAsManyLinesAsItHas() {
    let callers = (1...50).map { caller($0, store: 1024, stalled: 1) }
    let lines = TopScreen.lines(
      statsReport(uptime: 2, callers: callers), since: statsReport(uptime: 1), size: (24, 80))
    #expect(lines.count <= 23)
  }

  @Test func figuresHaveOneForm() {
    #expect(Figure.count(1_281_167 as UInt64) == "1,281,167" && Figure.count(12 as UInt64) == "12")
    #expect(Figure.percent(1.2) == "100 %" && Figure.percent(0.004) == "0.4 %")
    #expect(Figure.percent(0.614) == "61 %" && Figure.percent(0) == "0 %")
    #expect(
      Figure.ratio(1) == "1.00" && Figure.ratio(0.055) == "0.06" && Figure.ratio(0.5) == "0.50")
    #expect(Figure.compact(512) == "512" && Figure.compact(20 << 20) == "20.0M")
    #expect(Figure.compact(1023 << 20) == "1.0G" && Figure.compact(188 << 20) == "188M")
    #expect(Figure.latency(nil) == "-" && Figure.latency(512) == "<512 us")
    #expect(Figure.latency(32768) == "<32 ms" && Figure.latency(4_194_304) == "<4 s")
  }

  @Test func whatWaitsForLongIsRed() {
    let last = statsReport(uptime: 10, callers: [])
    let now = statsReport(
      uptime: 12,
      callers: [caller(7, name: "ls", store: 1, stalled: 0.9), caller(8, store: 1, stalled: 1.1)])
    let screen = TopScreen.screen(now, since: last)
    func colour(_ name: String) -> Colour? { screen.first { $0.text.hasPrefix(name) }?.colour }
    #expect(colour("python3 ") == .red && colour("ls ") == .plain && colour("COMMAND") == .bold)
    #expect(TopScreen.longestWait(now, since: last) == 0.55)
  }

  @Test func theHistoryIsALineOfBars() {
    var history = TopHistory()
    history.add(0.3)
    #expect(history.line(79) == nil)
    for share in [nil, 1, 0.5] { history.add(share) }
    #expect(history.line(79) == "longest wait ▃▁█▅ max 100 %")
    for _ in 0..<200 { history.add(0.999) }
    let line = history.line(79) ?? ""
    #expect(line == "longest wait \(String(repeating: "█", count: 40)) max 100 %")
    #expect((history.line(40) ?? "").count <= 40 && history.line(10) == nil)
    let report = statsReport()
    let screen = TopScreen.screen(report, since: report, size: (24, 80), history: history)
    #expect(screen.contains { $0.text == line } && screen.allSatisfy { $0.text.count <= 79 })
  }

  @Test func coloursAreForTerminalsThatWantThem() {
    #expect(Colour.isUsed([:], isTerminal: true))
    #expect(!Colour.isUsed([:], isTerminal: false))
    #expect(!Colour.isUsed(["NO_COLOR": "1"], isTerminal: true))
    #expect(Colour.isUsed(["NO_COLOR": ""], isTerminal: true))
    #expect(!Colour.isUsed(["TERM": "dumb"], isTerminal: true))
    #expect(Colour.red.around("x") == "\u{1B}[31mx\u{1B}[0m" && Colour.plain.around("x") == "x")
  }
}

@Suite struct TopVerdictTests {
  struct Case: Sendable {
    var share = 0.6
    var causes: [WaitCause: Double] = [:]
    var bytes: UInt64 = 1
    var unreachable = 0.0
    var isThrottled = false
    var ratios: (Double, Double)?
    var says: [String]
  }

  static let cases: [Case] = [
    Case(share: 0, bytes: 0, says: ["No process reads"]),
    Case(share: 0.02, says: ["do not wait", "2 %"]),
    Case(
      causes: [.listing: 0.5, .firstByte: 0.1],
      says: ["python3 waits 60 %", "listings (50 %)", "millrace warm /m"]),
    Case(causes: [.queue: 0.6], says: ["queued requests", "--all"]),
    Case(
      causes: [.limit: 0.4, .firstByte: 0.2], says: ["our rate limit (40 %)", "--max-bandwidth"]),
    Case(causes: [.firstByte: 0.6], says: ["TTFB", "more workers", "millrace order"]),
    Case(
      causes: [.firstByte: 0.6], ratios: (0.55, 1), says: ["TTFB", "0.55 to 1.00", "--cache-size"]),
    Case(causes: [.firstByte: 0.6], ratios: (0.95, 1), says: ["more workers"]),
    Case(causes: [.bandwidth: 0.6], says: ["bandwidth", "millrace warm /m"]),
    Case(causes: [.disk: 0.6], ratios: (0.5, 1), says: ["cache disk", "--cache-dir"]),
    Case(
      causes: [.firstByte: 0.6], unreachable: 75,
      says: ["unreachable for 75 s", "refused", "millrace doctor s3://b"]),
    Case(
      causes: [.firstByte: 0.6], unreachable: 75, isThrottled: true,
      says: ["throttled all requests for 75 s", "--max-requests-per-second"]),
  ]

  @Test(arguments: cases.indices) func aVerdictNamesTheCauseAndWhatHelps(_ index: Int) {
    let it = Self.cases[index]
    var verdict = TopVerdict(mountPoint: "/m", source: "s3://b")
    verdict.unreachableSeconds = it.unreachable
    verdict.isThrottled = it.isThrottled
    verdict.lastError = it.unreachable > 0 ? "connection refused" : nil
    verdict.bytes = it.bytes
    verdict.name = "python3"
    verdict.waitShare = it.share
    verdict.causes = it.causes
    verdict.hitRatio = it.ratios?.0
    verdict.hitRatioAtDoubleSize = it.ratios?.1
    for words in it.says { #expect(verdict.text.contains(words), "\(verdict.text)") }
  }
}
