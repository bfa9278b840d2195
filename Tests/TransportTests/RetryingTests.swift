import Metrics
import ObjectStore
import Posix
import Synchronization
import Testing

@testable import Transport

/// Attempts after the first: what is tried again, from where, how often and for how long.
@Suite struct RetryingTests {
  @Test func serviceUnavailableIsAskedAgainOnTheSameConnection() {
    let server = RawServer { connection, _ in
      _ = connection.readRequest()
      connection.write(answer("slow down", status: "503 Slow Down"))
      _ = connection.readRequest()
      connection.write(answer("whole"))
      connection.waitForHangUp()
    }
    defer { server.stop() }
    withTransport { transport, metrics in
      let exchange = TestExchange.get(server.url)
      transport.start(exchange, deadline: soon())
      exchange.wait()
      #expect(exchange.error == nil)
      #expect(exchange.record.received == Array("whole".utf8))
      #expect(exchange.record.attempts == [0, 1])
      #expect(metrics.retries.count == 1 && metrics.errors.count == 0)
      #expect(metrics.connectionsOpened.count == 1)
    }
  }

  @Test func brokenTransferGoesOnWhereItStopped() {
    let content = Array("0123456789abcdefghijklmnopqrstuvwxyz".utf8)
    let server = RawServer { connection, _ in
      guard let request = connection.readRequest() else { return }
      let range = request.split(separator: "\r\n").first { $0.hasPrefix("Range: bytes=") }
      let start = range.flatMap { Int($0.dropFirst(13).dropLast()) } ?? 0
      let rest = content[start...]
      connection.write("HTTP/1.1 206 Partial\r\nContent-Length: \(rest.count)\r\n\r\n")
      connection.write(Array(rest.prefix(10)))
    }
    defer { server.stop() }
    // Two attempts only: each that brings bytes gives them back.
    withTransport(limits { $0.maxAttempts = 2 }) { transport, _ in
      let exchange = TestExchange.get(server.url)
      transport.start(exchange, deadline: soon())
      exchange.wait()
      #expect(exchange.record.received == content)
      #expect(exchange.record.attempts == [0, 1, 2, 3])
      #expect(exchange.failures == [.truncated, .truncated, .truncated])
    }
  }

  @Test func triesRunOutWithTheirCause() {
    let server = RawServer { connection, _ in
      while connection.readRequest() != nil {
        connection.write(answer("", status: "500 Broken"))
      }
    }
    defer { server.stop() }
    withTransport(limits { $0.maxAttempts = 3 }) { transport, metrics in
      let exchange = TestExchange.get(server.url)
      transport.start(exchange, deadline: soon())
      exchange.wait()
      #expect(exchange.error == testError(.serverFailure, "500"))
      #expect(exchange.record.attempts == [0, 1, 2])
      #expect(metrics.retries.count == 2 && metrics.errors.count == 1)
    }
  }

  @Test func deadlineEndsTheTryingAndKeepsTheLastCause() {
    let port = closedPort()
    withTransport { transport, _ in
      let exchange = TestExchange.get("http://127.0.0.1:\(port)/")
      transport.start(exchange, deadline: .now + .milliseconds(1500))
      exchange.wait()
      #expect(exchange.error?.kind == .timedOut)
      #expect(exchange.error?.store == "test://store")
      #expect(exchange.error?.detail.contains("connect") == true)
      #expect(exchange.record.attempts.count >= 2)
    }
  }

  @Test func deadlineEndsATransferThatRuns() {
    for text in ["", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegin"] {
      let server = RawServer { connection, _ in
        _ = connection.readRequest()
        connection.write(text)
        connection.waitForHangUp()
      }
      defer { server.stop() }
      withTransport { transport, metrics in
        let exchange = TestExchange.get(server.url)
        transport.start(exchange, deadline: .now + .milliseconds(100))
        exchange.wait()
        #expect(exchange.error?.kind == .timedOut)
        #expect(exchange.error?.store == "test://store")
        // On a busy machine it may not have come as far as the answer.
        #expect(exchange.failures.count == 1)
        if !exchange.record.received.isEmpty { #expect(exchange.failures == [.stalled]) }
        #expect(metrics.inFlight.current == 0)
      }
    }
  }

  @Test func deadlineEndsAnExchangeThatWaitsForItsTurn() {
    let server = RawServer { connection, _ in connection.waitForHangUp() }
    defer { server.stop() }
    withTransport(limits { $0.maxConcurrentTransfers = 1 }) { transport, _ in
      let first = TestExchange.get(server.url)
      let ticket = transport.start(first, deadline: soon())
      let second = TestExchange.get(server.url)
      transport.start(second, deadline: .now + .milliseconds(50))
      second.wait()
      #expect(second.error?.kind == .timedOut && second.error?.store == "test://store")
      #expect(second.record.attempts.isEmpty)
      ticket.cancel()
      first.wait()
      #expect(first.error?.kind == .cancelled)
    }
  }

  @Test func storeThatComesBackIsFoundWhileTheBudgetIsEmpty() {
    // 64 exchanges spend the budget (35 retries) at once on a store that fails until told.
    let switched = Switch()
    let asked = Monitor(0)
    let server = RawServer { connection, _ in
      while connection.readRequest() != nil {
        asked.signal { $0 += 1 }
        connection.write(
          switched.isOn ? answer("whole") : answer("", status: "500 Broken"))
      }
    }
    defer { server.stop() }
    withTransport(limits { $0.maxAttempts = 1000 }) { transport, metrics in
      let exchanges = (0..<64).map { _ in TestExchange.get(server.url) }
      for exchange in exchanges { transport.start(exchange, deadline: soon(30)) }
      // Every first attempt, what the budget allows at once, and one that had to wait for it.
      #expect(asked.wait(until: soon()) { $0 >= 64 + 36 ? true : nil } == true)
      switched.turnOn()
      for exchange in exchanges {
        exchange.wait()
        #expect(exchange.error == nil)
      }
    }
  }

  @Test func redirectsWithoutEndAreEnded() {
    let server = RawServer { connection, _ in
      while connection.readRequest() != nil {
        connection.write(answer("", status: "307 Elsewhere", headers: "Location: /\r\n"))
      }
    }
    defer { server.stop() }
    withTransport { transport, _ in
      let exchange = TestExchange.get(server.url, verdict: { _ in .again })
      transport.start(exchange, deadline: soon())
      exchange.wait()
      #expect(exchange.error?.kind == .badReply)
      #expect(exchange.record.attempts.count == 9)
    }
  }
}

final class Switch: Sendable {
  private let value = Atomic(false)
  var isOn: Bool { value.load(ordering: .acquiring) }
  func turnOn() { value.store(true, ordering: .releasing) }
}
