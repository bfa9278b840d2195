import Control
import Metrics
import Prefetch
import ReadEngine
import Testing

@testable import millrace

@Suite struct StatsTableTests {
  @Test func passthroughBytesAreServedByTheKernelAndNotByTheStore() {
    // An epoch from the store, then two from the disk that the kernel read by itself.
    let report = statsReport(counters: [
      "reads.bytesFromStore": 100 << 20, "fuse.passthroughBytes": 200 << 20,
    ])
    let line = StatsTable.lines(report)[1]
    #expect(
      line
        == "Served    300 MiB: 67 % kernel (passthrough), 0 % disk, 0 % memory, 33 % store")
  }

  @Test func theFirstLinesSayWhatAUserAsks() {
    var engine = EngineUsage()
    engine.diskBytes = 137 << 30
    engine.epoch = 3
    engine.epochFiles = 480
    engine.epochBytes = 50 << 20
    engine.estimatedHitRatio = 0.55
    engine.estimatedHitRatioAtDoubleSize = 1
    engine.fetchesInFlight = 4
    var caller = CallerReport(pid: 7, name: "python3", seconds: 100)
    caller.stalledSeconds = 2
    caller.waitSeconds = ["ttfb": 1.5, "bandwidth": 0.5, "listing": 1]
    let lines = StatsTable.lines(
      statsReport(
        uptime: 4320, callers: [caller],
        counters: [
          "store.bytesFetched": 29 << 30, "store.getRequests": 271_000, "store.listRequests": 41,
          "store.retries": 12,
        ], engine: engine,
        limits: StatsReport.Limits(
          memory: 1 << 30, metadata: 1 << 30, cache: 300 << 30, cacheReachable: 189 << 30),
        cache: "/nvme"))
    #expect(
      lines == [
        "s3://b at /mnt/data, up 1 h 12 min, healthy",
        "Served    nothing yet",
        "Waiting   3.0 s, 3 % of the readers' time: TTFB 1.5 %, listings 1 %, bandwidth 0.5 %",
        "Store     29 GiB in 271,000 GET, 41 LIST; 12 retries, 0 throttled",
        "Cache     137 GiB of 189 GiB in /nvme, hit ratio 0.55, 1.00 with twice the cache",
        "Now       epoch 3 (480 files, 50 MiB); 4 in flight; 0 reads waiting",
      ])
  }

  @Test func aStoreThatIsAwayIsNamedFirst() {
    let away = StoreStatus(unreachableSeconds: 75, lastError: "connection refused")
    #expect(
      StatsTable.lines(statsReport(store: away))[0].hasSuffix(
        "store unreachable for 75 s: connection refused"))
    let failed = statsReport(counters: ["reads.failures": 1])
    #expect(StatsTable.lines(failed)[0].hasSuffix(", 1 read error"))
  }

  @Test func withoutADiskTheMemoryIsTheCache() {
    let line = StatsTable.lines(statsReport())[4]
    #expect(line.contains("no cache on disk") && line.contains("memory 0 B"))
  }

  @Test func noShareIsMoreThanAll() {
    var ended = CallerReport(pid: 0, name: "ended", seconds: 1)
    ended.stalledSeconds = 500
    ended.waitSeconds = ["disk": 500]
    let text = StatsTable.lines(statsReport(callers: [ended]))[2]
    #expect(text.contains("100 % of the readers' time") && text.contains("cache disk 100 %"))
  }

  @Test func theRestNamesBudgetAndOrders() {
    let text = StatsDetails.lines(statsReport()).joined(separator: "\n")
    #expect(text.contains("amplification 4.2x (budget 16x)"))
    for title in ["Served by", "Store", "Prefetched", "Metadata", "Reads", "Sizes", "rate limit"] {
      #expect(text.contains(title))
    }
    func amplification(_ policy: String, _ budget: Double?, _ requested: UInt64) -> String {
      StatsDetails.amplification(
        FillReport(
          policy: policy, budget: budget, backgroundBytes: 5, requestedBytes: requested))
    }
    #expect(amplification("auto", 16, 0) == "budget 16x")
    #expect(amplification("all", nil, 10) == "amplification 0.5x (all)")
    #expect(amplification("off", nil, 10) == "off")
  }
}
