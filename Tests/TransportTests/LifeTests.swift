import Glibc
import Metrics
import ObjectStore
import Posix
import Testing

@testable import Transport

/// Cancelling, stopping, limits, and calls from within completions.
@Suite struct LifeTests {
  private func silentServer() -> RawServer {
    RawServer { connection, _ in connection.waitForHangUp() }
  }

  @Test func cancelEndsAnExchangeInEveryPhase() {
    let silent = silentServer()
    defer { silent.stop() }
    let refusing = "http://127.0.0.1:\(closedPort())/"
    withTransport(limits { $0.maxConcurrentTransfers = 1 }) { transport, metrics in
      let backingOff = TestExchange.get(
        refusing, verdict: { _ in .retry(cause: testError(.throttled, "x"), after: .seconds(15)) })
      let first = transport.start(backingOff, deadline: soon())
      #expect(backingOff.wait { $0.outcomes.count == 1 })
      let running = TestExchange.get(silent.url)
      let second = transport.start(running, deadline: soon())
      #expect(running.wait { $0.attempts.count == 1 })
      let queued = TestExchange.get(silent.url)
      let third = transport.start(queued, deadline: soon())
      for ticket in [third, second, first] {
        ticket.cancel()
        ticket.cancel()
      }
      for exchange in [backingOff, running, queued] {
        exchange.wait()
        #expect(exchange.error?.kind == .cancelled)
      }
      #expect(metrics.inFlight.current == 0 && metrics.errors.count == 0)
      first.cancel()
    }
  }

  @Test func shutdownEndsEverythingOnceAndRefusesWhatComesLater() {
    let silent = silentServer()
    defer { silent.stop() }
    let exchanges = (0..<50).map { _ in TestExchange.get(silent.url) }
    withTransport(limits { $0.maxConcurrentTransfers = 8 }) { transport, metrics in
      for exchange in exchanges { transport.start(exchange, deadline: soon()) }
      #expect(exchanges[0].wait { $0.attempts.count == 1 })
      transport.shutdown()
      for exchange in exchanges {
        #expect(exchange.error?.kind == .cancelled && exchange.record.finishes == 1)
      }
      #expect(metrics.inFlight.current == 0)
      let late = TestExchange.get(silent.url)
      transport.start(late, deadline: soon()).cancel()
      #expect(late.error?.kind == .cancelled)
      transport.shutdown()
    }
  }

  @Test func startingWhileShuttingDownEndsEveryExchangeOnce() {
    for _ in 0..<30 {
      let port = closedPort()
      let exchanges = (0..<40).map { _ in
        TestExchange.get("http://127.0.0.1:\(port)/", verdict: failingVerdict)
      }
      withTransport { transport, _ in
        let starter = Thread(named: "starter") {
          for exchange in exchanges { transport.start(exchange, deadline: soon()).cancel() }
        }
        transport.shutdown()
        starter.join()
      }
      for exchange in exchanges { #expect(exchange.record.finishes == 1) }
    }
  }

  @Test func completionMayStartTheNextExchange() {
    let server = RawServer { connection, _ in
      while connection.readRequest() != nil { connection.write(answer("x")) }
    }
    defer { server.stop() }
    withTransport { transport, metrics in
      let end = TestExchange.get(server.url)
      let chain = (0..<200).reduce(end) { next, _ in
        TestExchange(onFinish: { transport.start(next, deadline: soon()) }) { _, _ in
          HTTPRequest(url: server.url)
        }
      }
      transport.start(chain, deadline: soon())
      end.wait()
      #expect(end.error == nil && end.record.received == [0x78])
      #expect(metrics.connectionsOpened.count == 1)
    }
  }

  @Test func shutdownWithinACompletionDoesNotWaitForItself() {
    let server = RawServer { connection, _ in
      while connection.readRequest() != nil { connection.write(answer("x")) }
    }
    defer { server.stop() }
    withTransport { transport, _ in
      let exchange = TestExchange(onFinish: { transport.shutdown() }) { _, _ in
        HTTPRequest(url: server.url)
      }
      transport.start(exchange, deadline: soon())
      exchange.wait()
      #expect(exchange.error == nil)
    }
  }

  @Test func exchangesOverTheLimitAreRefusedWithAReason() {
    let silent = silentServer()
    defer { silent.stop() }
    withTransport(limits { $0.maxLiveExchanges = 2 }) { transport, _ in
      let taken = (0..<2).map { _ in TestExchange.get(silent.url) }
      let tickets = taken.map { transport.start($0, deadline: soon()) }
      let third = TestExchange.get(silent.url)
      transport.start(third, deadline: soon())
      third.wait()
      #expect(third.error?.detail.contains("more than 2 requests") == true)
      for ticket in tickets { ticket.cancel() }
      for exchange in taken { exchange.wait() }
      let fourth = TestExchange.get("http://127.0.0.1:\(closedPort())/", verdict: failingVerdict)
      transport.start(fourth, deadline: soon())
      fourth.wait()
      #expect(fourth.failures == [.connectionRefused])
    }
  }

  @Test func endedExchangeIsLetGoEvenWhileItsTicketIsHeld() {
    weak var exchange: TestExchange?
    withTransport { transport, _ in
      let ticket = {
        let made = TestExchange.get("http://127.0.0.1:\(closedPort())/", verdict: failingVerdict)
        exchange = made
        let ticket = transport.start(made, deadline: soon())
        made.wait()
        return ticket
      }()
      transport.shutdown()
      #expect(exchange == nil)
      ticket.cancel()
    }
  }

  @Test func unixSocketIsConnectedToInsteadOfTheHost() {
    withTransport { transport, _ in
      let exchange = TestExchange(verdict: failingVerdict) { _, _ in
        HTTPRequest(url: "http://localhost/stats", unixSocketPath: "/no/such/socket")
      }
      transport.start(exchange, deadline: soon())
      exchange.wait()
      #expect(exchange.failures == [.connectionRefused])
    }
  }

  @Test func connectionThatDiedWhileIdleIsReplacedSilently() {
    let server = RawServer { connection, _ in
      _ = connection.readRequest()
      connection.write(answer("x"))
    }
    defer { server.stop() }
    withTransport { transport, metrics in
      for _ in 0..<5 {
        let exchange = TestExchange.get(server.url, verdict: failingVerdict)
        transport.start(exchange, deadline: soon())
        exchange.wait()
        #expect(exchange.error == nil)
      }
      #expect(metrics.retries.count == 0 && server.connections == 5)
    }
  }

  @Test func idleConnectionsAreClosedAfterAWhileAndAtShutdown() {
    for closesIdle in [true, false] {
      let hungUp = Monitor(0)
      let server = RawServer { connection, _ in
        while connection.readRequest() != nil { connection.write(answer("x")) }
        hungUp.signal { $0 += 1 }
      }
      defer { server.stop() }
      withTransport(limits { if closesIdle { $0.closeIdleAfter = .milliseconds(50) } }) {
        transport, _ in
        for round in 1...2 {
          let exchange = TestExchange.get(server.url)
          transport.start(exchange, deadline: soon())
          exchange.wait()
          #expect(exchange.error == nil)
          if closesIdle { #expect(hungUp.wait(until: soon()) { $0 == round ? true : nil } == true) }
        }
        if !closesIdle {
          transport.shutdown()
          #expect(hungUp.wait(until: soon()) { $0 == 1 ? true : nil } == true)
        }
      }
    }
  }
}
