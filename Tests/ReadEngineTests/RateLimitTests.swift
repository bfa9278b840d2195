import Metrics
import ObjectStore
import Posix
import Testing

@testable import ReadEngine

/// What our own rate limits hold back is a cause of waiting, and no property of the store or the network.
@Suite struct RateLimitTests {
  private func waiter(_ served: Waiter.Served) -> [WaitCause: Int64] {
    var waiter = Waiter(
      id: WaiterID(number: 1), bytes: 0..<1, deadline: .distantFuture, parkedAt: .now)
    waiter.waitedForStore = true
    waiter.served = served
    let times = waiter.wait(until: served.at + .milliseconds(1))
    return Dictionary(times.map { ($0.cause, $0.nanoseconds / 1_000_000) }, uniquingKeysWith: +)
  }

  @Test func aWaitIsSplitByWhatTheLimitsHeldBack() {
    // The waiter parks now: what follows is counted from here.
    let start = Instant.now + .seconds(1)
    let times = waiter(
      Waiter.Served(
        sentAt: start, firstByteAt: start + .milliseconds(950), at: start + .milliseconds(2000),
        limitedBefore: .milliseconds(900), limitedAfter: .milliseconds(400)))
    #expect(times[.limit] == 1300)
    #expect(times[.firstByte] == 50)
    #expect(times[.bandwidth] == 650)
    #expect(times[.disk] == 1)
  }

  @Test func noMoreIsDueToALimitThanTheReaderWaited() {
    // The fetch was held back long before this reader came to wait for it.
    let sent = Instant(nanoseconds: Instant.now.nanoseconds - 60_000_000_000)
    let now = Instant.now + .seconds(2)
    let times = waiter(
      Waiter.Served(
        sentAt: sent, firstByteAt: now, at: now, limitedBefore: .seconds(10),
        limitedAfter: .seconds(10)))
    #expect(times[.limit] == 0)
    #expect(times[.queue] == 0 && times[.bandwidth] == 0)
    #expect(times[.firstByte] ?? 0 > 0)
  }

  @Test func aLimitTeachesNoTimeToFirstByte() async throws {
    let rig = try EngineRig()
    let version = try await rig.put("small", size: 100_000)
    let engine = try rig.engine(disk: false)
    // Far more than the request took: nothing is left for the store.
    rig.store.change { $0.limitWait = .seconds(3600) }
    let object = engine.open(version)
    #expect(try await object.bytes(at: 0, count: 1000) == content(at: 0, count: 1000))
    object.close()
    // The estimate has its least value.
    try await until { engine.services.dispatcher.report.ttfbSeconds == 1e-5 }
    engine.shutdown()
  }
}
