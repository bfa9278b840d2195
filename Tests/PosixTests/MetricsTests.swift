import Metrics
import Posix
import Testing

@Suite struct MetricsTests {
  @Test func countersAddUpAcrossThreads() {
    let counter = Counter()
    let threads = (0..<8).map { index in
      Thread(named: "count-\(index)") { for _ in 0..<10_000 { counter.add() } }
    }
    for thread in threads { thread.join() }
    counter.add(5 as Int)
    counter.add(0 as Int)
    #expect(counter.count == 80_005)
  }

  @Test func gaugeRemembersItsPeak() {
    let gauge = Gauge()
    gauge.add(5)
    gauge.add(3)
    gauge.add(-7)
    #expect(gauge.current == 1)
    #expect(gauge.peak == 8)
    gauge.set(20)
    gauge.set(2)
    #expect(gauge.current == 2)
    #expect(gauge.peak == 20)
    gauge.add(-5)
    #expect(gauge.current == -3)
  }

  @Test func gaugeBalancesAcrossThreads() {
    let gauge = Gauge()
    let threads = (0..<8).map { index in
      Thread(named: "gauge-\(index)") {
        for _ in 0..<10_000 {
          gauge.add(1)
          gauge.add(-1)
        }
      }
    }
    for thread in threads { thread.join() }
    #expect(gauge.current == 0)
    #expect((1...8).contains(gauge.peak))
  }

  @Test func roomsHaveCountersOfTheirOwn() {
    let metrics = Metrics()
    let other = Metrics()
    metrics.store.getRequests.add()
    #expect(metrics.store.getRequests.count == 1)
    #expect(metrics.store.listRequests.count == 0)
    #expect(other.store.getRequests.count == 0)
  }
}
