import Glibc
import Metrics
import Posix
import Synchronization
import Testing

@testable import Transport

/// Slow requests are asked a second time, and nobody notices but the one who waits.
struct HedgingTests {
  /// Requests that are answered at once, until it is known what slow is.
  private func learn(_ transport: Transport, _ server: RawServer) {
    for _ in 0..<TTFBTracker.leastSamples + 4 {
      let exchange = TestExchange.get("http://127.0.0.1:\(server.port)/fast")
      transport.start(exchange, deadline: soon())
      #expect(exchange.wait() != nil)
    }
  }

  /// Answers "fast" at once; `slow` says what happens to the n-th request for anything else.
  private func server(
    _ slow: @escaping @Sendable (RawConnection, _ number: Int) -> Void
  ) -> RawServer {
    let asked = Counting()
    return RawServer { connection, _ in
      while let request = connection.readRequest() {
        if request.hasPrefix("GET /fast") {
          connection.write(answer("fast"))
        } else {
          slow(connection, asked.next())
        }
      }
    }
  }

  @Test func aRequestThatIsNotAnsweredIsAskedOnAnotherConnection() {
    let server = server { connection, number in
      if number == 0 { connection.waitForHangUp() } else { connection.write(answer("second")) }
    }
    defer { server.stop() }
    withTransport { transport, metrics in
      learn(transport, server)
      let exchange = TestExchange.get(server.url, mayBeHedged: true)
      transport.start(exchange, deadline: soon())
      #expect(exchange.wait() != nil)
      #expect(exchange.error == nil)
      #expect(exchange.record.received == Array("second".utf8))
      #expect(exchange.record.attempts == [0, 0])
      #expect(exchange.record.outcomes.count == 1)
      #expect(metrics.hedges.count == 1)
      #expect(metrics.hedgesWon.count == 1)
      #expect(metrics.retries.count == 0)
      #expect(waitForIdle(metrics))
    }
  }

  @Test func theFirstRequestMayStillAnswerFirst() {
    let secondCame = Monitor(false)
    let server = server { connection, number in
      if number == 0 {
        _ = secondCame.wait(until: soon()) { $0 ? true : nil }
        connection.write(answer("first"))
      } else {
        secondCame.signal(all: true) { $0 = true }
        connection.waitForHangUp()
      }
    }
    defer { server.stop() }
    withTransport { transport, metrics in
      learn(transport, server)
      let exchange = TestExchange.get(server.url, mayBeHedged: true)
      transport.start(exchange, deadline: soon())
      #expect(exchange.wait() != nil)
      #expect(exchange.record.received == Array("first".utf8))
      #expect(metrics.hedges.count == 1)
      #expect(metrics.hedgesWon.count == 0)
      #expect(waitForIdle(metrics))
    }
  }

  @Test func aSecondRequestThatFailsHarmsNobody() {
    let secondCame = Monitor(false)
    let server = server { connection, number in
      if number == 0 {
        _ = secondCame.wait(until: soon()) { $0 ? true : nil }
        connection.write(answer("first"))
      } else {
        connection.reset()
        secondCame.signal(all: true) { $0 = true }
      }
    }
    defer { server.stop() }
    withTransport { transport, metrics in
      learn(transport, server)
      let exchange = TestExchange.get(server.url, mayBeHedged: true)
      transport.start(exchange, deadline: soon())
      #expect(exchange.wait() != nil)
      #expect(exchange.record.received == Array("first".utf8))
      #expect(exchange.failures.isEmpty)
      #expect(waitForIdle(metrics))
    }
  }

  @Test func aRefusalOfOneServerDoesNotEndWhatAnotherIsAboutToAnswer() {
    let refused = Monitor(false)
    let server = server { connection, number in
      if number == 0 {
        _ = refused.wait(until: soon()) { $0 ? true : nil }
        connection.write(answer("first"))
      } else {
        connection.write(answer("no", status: "503 Slow Down"))
        refused.signal(all: true) { $0 = true }
      }
    }
    defer { server.stop() }
    withTransport { transport, metrics in
      learn(transport, server)
      let exchange = TestExchange.get(server.url, mayBeHedged: true)
      transport.start(exchange, deadline: soon())
      #expect(exchange.wait() != nil)
      #expect(exchange.record.received == Array("first".utf8))
      #expect(exchange.record.heads.count == 1)
      #expect(metrics.retries.count == 0)
      #expect(waitForIdle(metrics))
    }
  }

  @Test func aRequestThatIsGivenUpLeavesTheSecondToGoOn() {
    let server = server { connection, number in
      if number == 0 {
        connection.waitForHangUp()
      } else {
        // The first is given up in the meantime, 400 ms after it was sent.
        usleep(300_000)
        connection.write(answer("second"))
      }
    }
    defer { server.stop() }
    withTransport(limits { $0.firstByteTimeout = .milliseconds(400) }) { transport, metrics in
      learn(transport, server)
      let exchange = TestExchange.get(server.url, mayBeHedged: true)
      exchange.awaited.withLock { $0 = false }
      transport.start(exchange, deadline: soon())
      usleep(200_000)
      exchange.awaited.withLock { $0 = true }
      #expect(exchange.wait() != nil)
      #expect(exchange.record.received == Array("second".utf8))
      #expect(waitForIdle(metrics))
    }
  }

  @Test func whatChangesSomethingIsNeverAskedTwice() {
    let server = server { connection, _ in
      // Longer than what would be slow.
      usleep(200_000)
      connection.write(answer("late"))
    }
    defer { server.stop() }
    withTransport { transport, metrics in
      learn(transport, server)
      let exchange = TestExchange.get(server.url)
      transport.start(exchange, deadline: soon())
      #expect(exchange.wait() != nil)
      #expect(exchange.record.attempts == [0])
      #expect(metrics.hedges.count == 0)
    }
  }

  @Test func whatNobodyWaitsForIsHedgedOnceSomebodyDoes() {
    let firstCame = Monitor(false)
    let server = server { connection, number in
      if number == 0 {
        firstCame.signal(all: true) { $0 = true }
        connection.waitForHangUp()
      } else {
        connection.write(answer("second"))
      }
    }
    defer { server.stop() }
    withTransport { transport, metrics in
      learn(transport, server)
      let exchange = TestExchange.get(server.url, mayBeHedged: true)
      exchange.awaited.withLock { $0 = false }
      transport.start(exchange, deadline: soon())
      #expect(firstCame.wait(until: soon()) { $0 ? true : nil } == true)
      // Ten times what is slow.
      usleep(200_000)
      #expect(metrics.hedges.count == 0)
      exchange.awaited.withLock { $0 = true }
      #expect(exchange.wait() != nil)
      #expect(exchange.record.received == Array("second".utf8))
      #expect(waitForIdle(metrics))
    }
  }

  @Test func aStoreThatIsSlowAsAWholeIsNotAskedTwiceAsMuch() {
    let server = server { connection, _ in connection.waitForHangUp() }
    defer { server.stop() }
    withTransport(limits { $0.firstByteTimeout = .milliseconds(300) }) { transport, metrics in
      learn(transport, server)
      let exchanges = (0..<100).map { _ in
        TestExchange.get(server.url, mayBeHedged: true, verdict: failingVerdict)
      }
      for exchange in exchanges { transport.start(exchange, deadline: soon()) }
      for exchange in exchanges { #expect(exchange.wait() != nil) }
      let requests = 100 + Double(TTFBTracker.leastSamples + 4)
      #expect(metrics.hedges.count >= 1)
      #expect(Double(metrics.hedges.count) <= 1 + requests * HedgePolicy.share + 1)
      #expect(waitForIdle(metrics))
    }
  }

  /// The first request is answered in the moment in which the second comes, again and again.
  @Test func everyExchangeGetsOneAnswerWholeAndOnce() {
    for round in 0..<4 {
      let asked = Monitor<[String: Int]>([:])
      let server = RawServer { connection, _ in
        while let request = connection.readRequest() {
          let path = String(request.split(separator: " ")[1])
          let count = asked.signal(all: true) { asked in
            asked[path, default: 0] += 1
            return asked[path]!
          }
          if path.hasSuffix("/slow"), count == 1 {
            _ = asked.wait(until: soon(1)) { $0[path]! > 1 ? true : nil }
          }
          connection.write(answer(String(repeating: "x", count: 40_000)))
        }
      }
      defer { server.stop() }
      withTransport { transport, metrics in
        learn(transport, server)
        for batch in 0..<10 {
          let exchanges = (0..<40).map { index in
            TestExchange.get(
              "http://127.0.0.1:\(server.port)/\(batch)/\(index == 0 ? "slow" : "\(index)")",
              mayBeHedged: true)
          }
          for exchange in exchanges { transport.start(exchange, deadline: soon()) }
          for exchange in exchanges {
            #expect(exchange.wait() != nil)
            #expect(exchange.error == nil, "round \(round)")
            #expect(exchange.record.received.count == 40_000, "round \(round)")
            #expect(exchange.record.finishes == 1, "round \(round)")
          }
        }
        #expect(metrics.hedges.count >= 1, "round \(round)")
        #expect(waitForIdle(metrics))
      }
    }
  }

  @Test func theBudgetHoldsAndAThrottlePausesIt() {
    for seed in 0..<1000 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      var policy = HedgePolicy()
      var now = Instant(nanoseconds: 1_000_000_000)
      var pausedUntil = now
      var requests = 0
      var hedges = 0
      for _ in 0..<500 {
        now = now + .milliseconds(Int.random(in: 0...100, using: &random))
        switch Int.random(in: 0..<40, using: &random) {
        case 0:
          policy.throttled(now: now)
          pausedUntil = now + HedgePolicy.pauseAfterThrottle
        case 1..<8:
          if policy.withdraw(now: now) {
            hedges += 1
            #expect(now >= pausedUntil, "seed \(seed)")
          }
        default:
          policy.requested()
          requests += 1
        }
        #expect(Double(hedges) <= 1 + Double(requests) * HedgePolicy.share + 1e-6, "seed \(seed)")
      }
    }
  }

  @Test func slowIsWhatIsFarFromUsual() {
    var waits = TTFBTracker()
    for index in 0..<TTFBTracker.leastSamples - 1 {
      waits.answered(.large, after: .milliseconds(50 + index))
      #expect(HedgePolicy.slow(waits.usual(.large)) == nil)
    }
    for _ in 0..<1000 { waits.answered(.large, after: .milliseconds(50)) }
    #expect(HedgePolicy.slow(waits.usual(.large)) == .milliseconds(100))
    for _ in 0..<1000 { waits.answered(.large, after: .microseconds(300)) }
    #expect(HedgePolicy.slow(waits.usual(.large)) == HedgePolicy.leastWait)
    // Heads are another matter.
    #expect(waits.usual(.unknown) == nil)
  }

  private func waitForIdle(_ metrics: StoreMetrics) -> Bool {
    let end = soon()
    while metrics.inFlight.current != 0 {
      if Instant.now > end { return false }
      usleep(1000)
    }
    return true
  }
}

/// Counts calls, from any thread.
final class Counting: Sendable {
  private let value = Atomic(0)
  func next() -> Int { value.add(1, ordering: .relaxed).oldValue }
}
