import Posix
import SystemPackage
import Testing

/// A machine that gives so many threads.
private final class Machine: Sendable {
  private let left: Lock<Int>
  init(threads: Int) { left = Lock(threads) }

  func give(_ count: Int) { left.withLock { $0 = count } }

  @Sendable func start(
    _ name: String, _ body: @escaping @Sendable () -> Void
  ) throws(Errno) -> Thread {
    let isGiven = left.withLock { left in
      guard left > 0 else { return false }
      left -= 1
      return true
    }
    guard isGiven else { throw .resourceTemporarilyUnavailable }
    return try Thread.start(named: name, body)
  }
}

@Suite struct ServiceThreadTests {
  @Test func aThreadThatCannotBeHadIsStartedByALaterCall() {
    let machine = Machine(threads: 0)
    let ran = Monitor(0)
    let thread = ServiceThread(named: "service", start: machine.start) {
      ran.signal(all: true) { $0 += 1 }
    }
    #expect(thread.ensure() == .resourceTemporarilyUnavailable)
    #expect(thread.ensure() == .resourceTemporarilyUnavailable)
    machine.give(5)
    #expect(thread.ensure() == nil)
    #expect(thread.ensure() == nil)
    thread.stop()?.join()
    #expect(ran.withLock { $0 } == 1)
    #expect(thread.stop() == nil)
  }

  @Test func nothingIsStartedAfterTheEndAndNothingIsKept() {
    final class Token: Sendable {}
    weak var seen: Token?
    let thread: ServiceThread
    do {
      let token = Token()
      seen = token
      thread = ServiceThread(named: "ended") { withExtendedLifetime(token) {} }
    }
    #expect(seen != nil)
    #expect(thread.stop() == nil)
    #expect(seen == nil)
    #expect(thread.ensure() == .canceled)
  }

  @Test func aPoolWithoutThreadsRefusesAndRecovers() {
    let machine = Machine(threads: 0)
    let pool = WorkerPool(named: "poor", threads: 3, start: machine.start)
    let ran = Lock(0)
    #expect(!pool.submit { ran.withLock { $0 += 100 } })
    machine.give(1)
    for _ in 0..<50 { #expect(pool.submit { ran.withLock { $0 += 1 } }) }
    machine.give(10)
    for _ in 0..<50 { #expect(pool.submit { ran.withLock { $0 += 1 } }) }
    pool.shutdown()
    #expect(ran.withLock { $0 } == 100)
  }

  @Test func anAbandonedPoolWaitsForNobodyAndDropsWhatWaits() {
    let pool = WorkerPool(named: "left", threads: 1)
    let gate = Monitor((isOpen: false, isRunning: false, hasEnded: false))
    let dropped = Lock(false)
    #expect(
      pool.submit {
        gate.signal(all: true) { $0.isRunning = true }
        _ = gate.wait { $0.isOpen ? true : nil }
        gate.signal(all: true) { $0.hasEnded = true }
      })
    _ = gate.wait { $0.isRunning ? true : nil }
    #expect(pool.submit { dropped.withLock { $0 = true } })
    pool.abandon()
    #expect(!pool.submit {})
    gate.signal(all: true) { $0.isOpen = true }
    #expect(gate.wait(until: .now + .seconds(20)) { $0.hasEnded ? true : nil } == true)
    #expect(dropped.withLock { $0 } == false)
  }
}
