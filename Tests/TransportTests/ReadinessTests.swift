import Metrics
import ObjectStore
import Posix
import Synchronization
import Testing

@testable import Transport

/// Exchanges that cannot make a request yet, and the signal that lets them go.
@Suite struct ReadinessTests {
  /// Credentials, say: there are none until `renew`.
  private final class Gate: Sendable {
    private let state = Monitor((isOpen: false, signal: ReadinessSignal(), asked: 0))

    func next(_ url: String) -> NextRequest {
      state.signal(all: true) { state in
        state.asked += 1
        return state.isOpen
          ? .ready(HTTPRequest(url: url))
          : .waiting(for: state.signal, cause: testError(.badCredentials, "waiting"))
      }
    }

    var asked: Int { state.withLock { $0.asked } }

    func wait(asked count: Int) -> Bool {
      state.wait(until: soon()) { $0.asked >= count ? true : nil } ?? false
    }

    /// `opens`: there is something to go on with; otherwise the next signal is waited for.
    func renew(opens: Bool) {
      let signal = state.withLock { state in
        defer { state.signal = ReadinessSignal() }
        state.isOpen = opens
        return state.signal
      }
      signal.give()
    }
  }

  private func server() -> RawServer {
    RawServer { connection, _ in
      while connection.readRequest() != nil { connection.write(answer("x")) }
    }
  }

  @Test func exchangesThatWaitAreAskedOnceForEachSignal() {
    let server = server()
    defer { server.stop() }
    let gate = Gate()
    withTransport { transport, metrics in
      let exchanges = (0..<20).map { _ in TestExchange.asking { _ in gate.next(server.url) } }
      for exchange in exchanges { transport.start(exchange, deadline: soon()) }
      #expect(gate.wait(asked: 20))
      // In this time they would be asked five times each if they were polled.
      #expect(!ReadinessSignal().wait(until: .now + .milliseconds(100)))
      #expect(gate.asked == 20 && metrics.inFlight.current == 0)
      gate.renew(opens: false)
      #expect(gate.wait(asked: 40))
      gate.renew(opens: true)
      for exchange in exchanges {
        exchange.wait()
        #expect(exchange.error == nil && exchange.record.attempts == [0, 0, 0])
      }
      #expect(gate.asked == 60)
    }
  }

  @Test func aSignalThatWasGivenBeforeItWasWaitedForIsNotMissed() {
    let server = server()
    defer { server.stop() }
    let asked = Atomic(0)
    let given = ReadinessSignal()
    given.give()
    withTransport { transport, _ in
      let exchange = TestExchange.asking { _ in
        asked.add(1, ordering: .relaxed).oldValue < 3
          ? .waiting(for: given, cause: testError(.badCredentials, "waiting"))
          : .ready(HTTPRequest(url: server.url))
      }
      transport.start(exchange, deadline: soon())
      exchange.wait()
      #expect(exchange.error == nil)
    }
  }

  @Test func anExchangeThatStillWaitsAtItsDeadlineEndsWithItsCause() {
    let gate = Gate()
    withTransport { transport, metrics in
      let exchange = TestExchange.asking { _ in gate.next("http://127.0.0.1:1/") }
      transport.start(exchange, deadline: .now + .milliseconds(50))
      exchange.wait()
      #expect(exchange.error == testError(.badCredentials, "waiting"))
      #expect(exchange.record.outcomes.isEmpty && metrics.errors.count == 1)
      // The signal finds nobody.
      gate.renew(opens: true)
    }
  }

  @Test func oneThatWaitsTakesNoOtherPlaceAndCanBeCancelled() {
    let server = server()
    defer { server.stop() }
    let gate = Gate()
    withTransport(limits { $0.maxConcurrentTransfers = 1 }) { transport, _ in
      let waiting = TestExchange.asking { _ in gate.next(server.url) }
      let ticket = transport.start(waiting, deadline: soon())
      #expect(gate.wait(asked: 1))
      let other = TestExchange.get(server.url)
      transport.start(other, deadline: soon())
      other.wait()
      #expect(other.error == nil)
      ticket.cancel()
      waiting.wait()
      #expect(waiting.error?.kind == .cancelled)
    }
  }

  @Test func anErrorInPlaceOfARequestEndsTheExchange() {
    withTransport { transport, metrics in
      let exchange = TestExchange.asking { _ in .failed(testError(.badCredentials, "none")) }
      transport.start(exchange, deadline: soon())
      exchange.wait()
      #expect(exchange.error == testError(.badCredentials, "none"))
      #expect(exchange.record.outcomes.isEmpty && metrics.errors.count == 1)
    }
  }

  @Test func theSameSignalLetsExchangesOfSeveralTransportsGo() {
    let server = server()
    defer { server.stop() }
    let gate = Gate()
    withTransport { first, _ in
      withTransport { second, _ in
        let exchanges = [first, second].map { transport in
          let exchange = TestExchange.asking { _ in gate.next(server.url) }
          transport.start(exchange, deadline: soon())
          return exchange
        }
        #expect(gate.wait(asked: 2))
        gate.renew(opens: true)
        for exchange in exchanges {
          exchange.wait()
          #expect(exchange.error == nil)
        }
      }
    }
  }

  @Test func aThreadWaitsForASignalOrForItsDeadline() {
    let signal = ReadinessSignal()
    #expect(!signal.wait(until: .now + .milliseconds(1)))
    let giver = Thread(named: "giver") { signal.give() }
    #expect(signal.wait(until: soon()) && signal.wait(until: .now))
    giver.join()
  }

  @Test func anExchangeKeepsToItsOwnLimits() {
    let refusing = "http://127.0.0.1:\(closedPort())/"
    let silent = RawServer { connection, _ in connection.waitForHangUp() }
    defer { silent.stop() }
    withTransport { transport, _ in
      let own = ExchangeLimits(
        maxAttempts: 2, connectTimeout: .seconds(5), firstByteTimeout: .milliseconds(100),
        stallTimeout: .milliseconds(100))
      for url in [refusing, silent.url] {
        let exchange = TestExchange.get(url)
        transport.start(exchange, deadline: soon(), limits: own)
        exchange.wait()
        #expect(exchange.record.attempts == [0, 1])
        #expect(exchange.error?.kind == .unreachable)
      }
    }
  }
}
