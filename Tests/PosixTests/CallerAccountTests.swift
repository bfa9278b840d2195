import Metrics
import Posix
import Testing

@Suite struct CallerAccountTests {
  private static let second: Int64 = 1_000_000_000

  private func read(
    _ source: ReadWait.Source, _ times: [(cause: WaitCause, nanoseconds: Int64)], bytes: Int = 1000
  ) -> ReadWait { ReadWait(source: source, bytes: bytes, times: times) }

  @Test func twoReadsAtOnceStallAProcessOnce() {
    let account = CallerAccount(pid: 7, name: "python", since: 0)
    account.startsToWait(at: 1 * Self.second)
    account.startsToWait(at: 2 * Self.second)
    account.waited(read(.store, [(.firstByte, 2 * Self.second)]), until: 3 * Self.second)
    account.waited(read(.disk, [(.disk, 2 * Self.second)]), until: 4 * Self.second)
    let report = account.report(at: 10 * Self.second)
    #expect(report.stalledSeconds == 3)
    #expect(report.waitSeconds["ttfb"] == 2 && report.waitSeconds["disk"] == 2)
    // The three seconds are shared by the two causes, and are three tenths of its time.
    #expect(report.waited(for: .firstByte) == 1.5 && report.waited(for: .disk) == 1.5)
    #expect(report.waitShare["all"] == 0.3 && report.waitShare["ttfb"] == 0.15)
    #expect(report.waitShare["queued"] == 0)
  }

  @Test func aReadThatStillWaitsCounts() {
    let account = CallerAccount(pid: 7, name: "python", since: 0)
    account.startsToWait(at: Self.second)
    #expect(account.report(at: 5 * Self.second).stalledSeconds == 4)
  }

  @Test func aReadThatIsDroppedWithoutAnAnswerStallsItsProcessNoLonger() {
    let account = CallerAccount(pid: 7, name: "python", since: 0)
    account.startsToWait(at: Self.second)
    account.stopsWaiting(at: 3 * Self.second)
    let report = account.report(at: 9 * Self.second)
    #expect(report.stalledSeconds == 2 && report.reads == 0)
  }

  @Test func bytesAreToldByWhereTheyWere() {
    let account = CallerAccount(pid: 7, name: "python", since: 0)
    account.hit(600, isFromDisk: false)
    account.hit(200, isFromDisk: true)
    account.passthroughBytes.add(100)
    account.startsToWait(at: 0)
    account.waited(read(.store, [(.bandwidth, 5_000_000)], bytes: 100), until: 5_000_000)
    let report = account.report(at: Self.second)
    #expect(report.bytes == 1000 && report.reads == 3 && report.hits == 2)
    #expect(report.bytesShare == ["memory": 0.6, "disk": 0.2, "kernel": 0.1, "store": 0.1])
  }

  @Test func quantilesAreRoundedUpToAPowerOfTwo() {
    let account = CallerAccount(pid: 7, name: "python", since: 0)
    for _ in 0..<90 { account.hit(1, isFromDisk: false) }
    for microseconds in [3000, 3000, 3000, 3000, 3000, 3000, 3000, 3000, 40_000, 40_000] {
      account.startsToWait(at: 0)
      account.waited(read(.store, [(.firstByte, Int64(microseconds) * 1000)]), until: 1)
    }
    let report = account.report(at: Self.second)
    #expect(report.latencyMicroseconds == ["p50": 8, "p90": 8, "p99": 65_536])
    #expect(report.latency(0.95) == 4096)
    #expect(CallerReport(pid: 1, name: "none", seconds: 1).latency(0.5) == nil)
  }

  @Test func theLongestWaitHasABucketToo() {
    let account = CallerAccount(pid: 7, name: "python", since: 0)
    account.startsToWait(at: 0)
    account.waited(read(.store, [(.firstByte, .max)]), until: 0)
    #expect(account.report(at: Self.second).latencyBuckets.last == 1)
  }

  @Test func whatWasAddedSinceIsTheDifference() {
    let account = CallerAccount(pid: 7, name: "python", since: 0)
    account.opens.add()
    account.startsToWait(at: 0)
    account.waited(read(.store, [(.queue, Self.second)]), until: Self.second)
    let first = account.report(at: 2 * Self.second)
    account.opens.add(2 as Int)
    account.hit(50, isFromDisk: true)
    account.waited(Self.second, for: .listing)
    let difference = account.report(at: 4 * Self.second).since(first)
    #expect(difference.seconds == 2 && difference.opens == 2 && difference.bytesFromDisk == 50)
    #expect(difference.stalledSeconds == 0 && difference.waited == 1)
    #expect(difference.waitShare["listing"] == 0.5 && difference.latency(0.99) == 8)
  }

  @Test func anEndedProcessLeavesWhatItCounted() {
    let others = CallerAccount(pid: 0, name: "ended", since: 0)
    let ended = CallerAccount(pid: 7, name: "python", since: 0)
    ended.hit(50, isFromDisk: true)
    ended.startsToWait(at: 0)
    ended.waited(read(.store, [(.queue, Self.second)]), until: Self.second)
    others.absorb(ended, at: 0)
    let report = others.report(at: Self.second)
    #expect(report.reads == 2 && report.stalledSeconds == 1 && report.waitSeconds["queued"] == 1)
  }
}
