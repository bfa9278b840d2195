import Control
import FileSystem
import Metrics
import Prefetch
import ReadEngine
import Testing

@testable import millrace

@Suite struct TopScreenTests {
  private func report(
    uptime: Double, callers: [CallerReport], counters: [String: UInt64] = [:],
    engine: EngineUsage = EngineUsage()
  ) -> StatsReport {
    var report = StatsReport(
      source: "s3://b", mountPoint: "/mnt/data", pid: 1, socket: "/s", version: "1",
      uptimeSeconds: uptime, cacheFolder: nil,
      limits: StatsReport.Limits(memory: 0, metadata: 0, cache: 0), residentBytes: 0,
      peakResidentBytes: 0, metrics: Metrics(), engine: engine,
      fileSystem: FileSystemStatistics(),
      fill: FillReport(policy: "auto", multiple: 16, filledBytes: 84, askedBytes: 20),
      orders: [], callers: callers, session: [:])
    report.counters.merge(counters) { $1 }
    return report
  }

  @Test func statsSayWhatFillMayCost() {
    let text = StatsTable.lines(report(uptime: 1, callers: [])).joined(separator: "\n")
    #expect(text.contains("4.2 bytes for each that was read, 16 at most"))
    func filled(_ policy: String, _ multiple: Double?, _ asked: UInt64) -> String {
      StatsTable.filled(
        FillReport(policy: policy, multiple: multiple, filledBytes: 5, askedBytes: asked))
    }
    #expect(filled("auto", 16, 0) == "16 at most")
    #expect(filled("always", nil, 10) == "0.5 bytes for each that was read, always")
    #expect(filled("off", nil, 10) == "off")
  }

  private func caller(_ pid: Int32, store: UInt64, stalled: Double) -> CallerReport {
    var caller = CallerReport(pid: pid, name: "python3", seconds: 10)
    caller.opens = store / 1024
    caller.bytesFromStore = store
    caller.stalledSeconds = stalled
    caller.waitSeconds = ["firstByte": stalled * 3, "bandwidth": stalled]
    caller.reads = 1
    caller.latencyBuckets = [0, 0, 0, 1]
    return caller
  }

  @Test func whoWaitsMostComesFirstWithItsCauses() throws {
    let last = report(
      uptime: 10, callers: [caller(7, store: 0, stalled: 0), caller(8, store: 0, stalled: 0)])
    let now = report(
      uptime: 12,
      callers: [caller(7, store: 2048, stalled: 0.2), caller(8, store: 20 << 20, stalled: 1.6)])
    let lines = TopScreen.lines(now, since: last)
    #expect(lines[0].contains("s3://b at /mnt/data"))
    let header = try #require(lines.firstIndex { $0.contains("COMMAND") })
    let rows = lines[(header + 1)...].map {
      $0.split(separator: " ", omittingEmptySubsequences: true).map(String.init)
    }
    #expect(rows.map(\.first) == ["8", "7"])
    // opens a second, bytes a second (two words), hits, all waiting, listing, queue, store, line, disk.
    #expect(
      Array(rows[0][1...10]) == [
        "10240", "10", "MiB/s", "0%", "80%", "0%", "0%", "60%", "20%", "0%",
      ])
    #expect(rows[0].last == "python3")
  }

  @Test func aSmallScreenGetsAsManyLinesAsItHas() {
    let callers = (1...50).map { caller($0, store: 1024, stalled: 1) }
    let lines = TopScreen.lines(
      report(uptime: 2, callers: callers), since: report(uptime: 1, callers: []), size: (24, 80))
    #expect(lines.count <= 23)
  }

  @Test func aCacheTwiceAsLargeIsToldOnceAnEpochIsOver() {
    var engine = EngineUsage()
    let before = report(uptime: 1, callers: [])
    #expect(!TopScreen.lines(before, since: before).joined().contains("twice"))
    engine.epoch = 2
    engine.foundShare = 0.25
    engine.foundShareOfTwice = 0.5
    let after = report(uptime: 2, callers: [], engine: engine)
    #expect(
      TopScreen.lines(after, since: before).joined(separator: "\n")
        .contains("it holds 25% of an epoch, one twice as large 50%"))
  }

  @Test func timesAreShownInTheirUnit() {
    #expect(TopScreen.duration(nil) == "-")
    #expect(TopScreen.duration(512) == "<512 us")
    #expect(TopScreen.duration(32768) == "<32 ms")
    #expect(TopScreen.duration(4_194_304) == "<4 s")
  }
}
