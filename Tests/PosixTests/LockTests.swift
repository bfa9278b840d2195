import Posix
import Testing

private struct Refused: Error {}

@Suite struct LockTests {
  @Test func oneThreadAtATimeIsInside() {
    let lock = Lock((inside: 0, most: 0, rounds: 0))
    let threads = (0..<8).map { index in
      Thread(named: "lock-\(index)") {
        for _ in 0..<5_000 {
          lock.withLock { state in
            state.inside += 1
            state.most = max(state.most, state.inside)
            state.rounds += 1
            state.inside -= 1
          }
        }
      }
    }
    for thread in threads { thread.join() }
    lock.withLock {
      #expect($0.most == 1)
      #expect($0.rounds == 40_000)
    }
  }

  @Test func errorUnlocks() {
    let lock = Lock(0)
    #expect(throws: Refused.self) { try lock.withLock { _ throws(Refused) in throw Refused() } }
    #expect(lock.withLock { $0 } == 0)
    let monitor = Monitor(0)
    #expect(throws: Refused.self) { try monitor.withLock { _ throws(Refused) in throw Refused() } }
    #expect(monitor.withLock { $0 } == 0)
  }
}

@Suite struct MonitorTests {
  @Test func waitEndsWithWhatWasSignalled() {
    let monitor = Monitor<Int?>(nil)
    let thread = Thread(named: "signaller") { monitor.signal { $0 = 7 } }
    #expect(monitor.wait { $0 } == 7)
    thread.join()
  }

  @Test func waitEndsAtItsDeadline() {
    let monitor = Monitor<Int?>(nil)
    let deadline = Instant.now + .milliseconds(30)
    #expect(monitor.wait(until: deadline) { $0 } == nil)
    #expect(Instant.now >= deadline)
    #expect(monitor.wait(until: Instant(nanoseconds: 0)) { $0 } == nil)
    #expect(monitor.wait(until: .now + .seconds(-5)) { $0 } == nil)
  }

  @Test func whatIsThereIsGivenEvenAfterTheDeadline() {
    let monitor = Monitor<Int?>(3)
    #expect(monitor.wait(until: Instant(nanoseconds: 0)) { $0 } == 3)
    #expect(monitor.wait(until: .distantFuture) { $0 } == 3)
  }

  @Test func wakeUpsThatBringNothingDoNotEndTheWaitAndDoNotExtendIt() {
    let monitor = Monitor((count: 0, isOver: false))
    let deadline = Instant.now + .milliseconds(60)
    let thread = Thread(named: "noise") {
      while !monitor.signal(
        all: true,
        { state in
          state.count += 1
          return state.isOver
        })
      {}
    }
    #expect(monitor.wait(until: deadline) { $0.count < 0 ? true : nil } == nil)
    #expect(Instant.now >= deadline)
    monitor.signal { $0.isOver = true }
    thread.join()
  }

  @Test func signalToAllWakesAll() {
    let monitor = Monitor((isOpen: false, waiting: 0, through: 0))
    let threads = (0..<6).map { index in
      Thread(named: "waiter-\(index)") {
        monitor.signal { $0.waiting += 1 }
        _ = monitor.wait { $0.isOpen ? true : nil }
        monitor.signal(all: true) { $0.through += 1 }
      }
    }
    while monitor.withLock({ $0.waiting }) < 6 {}
    monitor.signal(all: true) { $0.isOpen = true }
    #expect(monitor.wait(until: .now + .seconds(20)) { $0.through == 6 ? true : nil } == true)
    for thread in threads { thread.join() }
  }

  @Test func everySignalIsTakenOnce() {
    let monitor = Monitor((items: 0, taken: 0))
    let takers = (0..<3).map { index in
      Thread(named: "taker-\(index)") {
        while true {
          let goesOn = monitor.wait(until: .now + .seconds(20)) { state -> Bool? in
            if state.taken == 3_000 { return false }
            guard state.items > 0 else { return nil }
            state.items -= 1
            state.taken += 1
            return true
          }
          guard goesOn == true else { break }
        }
        monitor.signal(all: true) { _ in }
      }
    }
    for _ in 0..<3_000 { monitor.signal { $0.items += 1 } }
    for thread in takers { thread.join() }
    #expect(monitor.withLock { $0.taken } == 3_000)
  }
}
