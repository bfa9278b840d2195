import Glibc
import Metrics
import ObjectStore
import Posix
import Testing

@testable import Transport

/// What each thing that can go wrong on the wire becomes.
@Suite struct FaultTests {
  /// Runs one attempt against `serve` and gives the exchange back.
  private func attempt(
    _ configuration: TransportConfiguration = TransportConfiguration(),
    disposition: BodyDisposition = .stream,
    _ serve: @escaping @Sendable (RawConnection, Int) -> Void
  ) -> TestExchange {
    let server = RawServer(serve)
    defer { server.stop() }
    return withTransport(configuration) { transport, _ in
      let exchange = TestExchange.get(
        server.url, disposition: { _ in disposition }, verdict: failingVerdict)
      transport.start(exchange, deadline: soon())
      exchange.wait()
      return exchange
    }
  }

  @Test func bodyShorterThanItsLengthIsTruncated() {
    let exchange = attempt { connection, _ in
      _ = connection.readRequest()
      connection.write(answer("half", length: 8))
    }
    #expect(exchange.failures == [.truncated])
    #expect(exchange.record.received == Array("half".utf8))
    guard case .transferFailed(let failure, let wasStreaming)? = exchange.record.outcomes.first
    else { return }
    #expect(wasStreaming && failure.detail.contains("127.0.0.1"))
  }

  @Test func chunkedBodyWithoutItsEndIsTruncated() {
    let exchange = attempt { connection, _ in
      _ = connection.readRequest()
      connection.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
    }
    #expect(exchange.failures == [.truncated])
  }

  @Test func resetInTheMiddleIsALostConnection() {
    let exchange = attempt { connection, _ in
      _ = connection.readRequest()
      connection.write(answer("half", length: 8))
      connection.reset()
    }
    // The reset may overtake the bytes before it.
    #expect(exchange.failures == [.connectionLost])
  }

  @Test func connectionClosedWithoutAWordIsLost() {
    let exchange = attempt { connection, _ in _ = connection.readRequest() }
    #expect(exchange.failures == [.connectionLost])
  }

  @Test func silenceBeforeTheFirstByteHasItsOwnLimit() {
    let exchange = attempt(limits { $0.firstByteTimeout = .milliseconds(100) }) { connection, _ in
      connection.waitForHangUp()
    }
    #expect(exchange.failures == [.firstByteTimedOut])
  }

  @Test func bodyThatStopsIsStalled() {
    let exchange = attempt(limits { $0.stallTimeout = .milliseconds(100) }) { connection, _ in
      _ = connection.readRequest()
      connection.write(answer("half", length: 8))
      connection.waitForHangUp()
    }
    #expect(exchange.failures == [.stalled])
    guard case .transferFailed(_, wasStreaming: true)? = exchange.record.outcomes.first else {
      Issue.record("not streaming")
      return
    }
  }

  @Test func headThatStopsIsStalled() {
    let exchange = attempt(limits { $0.stallTimeout = .milliseconds(100) }) { connection, _ in
      _ = connection.readRequest()
      connection.write("HTTP/1.1 200 OK\r\nA: b\r\n")
      connection.waitForHangUp()
    }
    #expect(exchange.failures == [.stalled])
  }

  @Test func garbageIsMalformed() {
    for garbage in [
      "SSH-2.0-OpenSSH_9.2\r\n\r\n", "\u{0}\u{1}\u{2}\u{3}garbage garbage",
      "HTTP/1.1 2x0 OK\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: -7\r\n\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\nhalf\r\n",
    ] {
      let exchange = attempt { connection, _ in
        _ = connection.readRequest()
        connection.write(garbage)
      }
      #expect(exchange.failures == [.malformed], "\(garbage.debugDescription)")
    }
  }

  @Test func headersWithoutEndAreMalformed() {
    let exchange = attempt { connection, _ in
      _ = connection.readRequest()
      connection.write("HTTP/1.1 200 OK\r\n")
      let line = String(repeating: "x", count: 1000)
      while connection.write("h: \(line)\r\n") {}
    }
    #expect(exchange.failures == [.malformed])
    #expect(exchange.record.heads.isEmpty)
  }

  @Test func informationalAnswersAreNotTheAnswer() {
    let exchange = attempt { connection, _ in
      _ = connection.readRequest()
      connection.write("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n")
      connection.write(answer("whole"))
    }
    #expect(exchange.record.heads.map(\.status) == [200])
    #expect(exchange.record.received == Array("whole".utf8))
  }

  @Test func nobodyListeningIsARefusedConnection() {
    withTransport { transport, metrics in
      let exchange = TestExchange.get(
        "http://127.0.0.1:\(closedPort())/", verdict: failingVerdict)
      transport.start(exchange, deadline: soon())
      exchange.wait()
      #expect(exchange.failures == [.connectionRefused])
      #expect(metrics.errors.count == 1)
    }
  }

  @Test func hostWithoutAddressIsNotResolved() {
    withTransport { transport, _ in
      let exchange = TestExchange.get(
        "http://no-such-host.invalid/x?secret=1", verdict: failingVerdict)
      transport.start(exchange, deadline: soon())
      exchange.wait()
      #expect(exchange.failures == [.nameNotResolved])
      #expect(exchange.error?.detail.contains("no-such-host.invalid") == true)
      #expect(exchange.error?.detail.contains("secret") == false)
    }
  }

  @Test func connectionThatIsNotTakenTimesOut() {
    // 192.0.2.0/24 is for documentation (RFC 5737): no route, or nobody.
    withTransport(limits { $0.connectTimeout = .milliseconds(100) }) { transport, _ in
      let exchange = TestExchange.get("http://192.0.2.1/", verdict: failingVerdict)
      transport.start(exchange, deadline: soon())
      exchange.wait()
      #expect([[.connectTimedOut], [.connectionRefused]].contains(exchange.failures))
    }
  }

  @Test func otherProtocolsAndControlCharactersAreRefused() {
    withTransport { transport, _ in
      for request in [
        HTTPRequest(url: "file:///etc/passwd"), HTTPRequest(url: "http://a b/"),
        HTTPRequest(url: "http://127.0.0.1/", headers: [("A", "b\r\nC: d")]),
        HTTPRequest(url: "http://127.0.0.1/", headers: [("A:\r\nB", "c")]),
      ] {
        let exchange = TestExchange(verdict: failingVerdict) { _, _ in request }
        transport.start(exchange, deadline: soon())
        exchange.wait()
        #expect(exchange.failures == [.other])
      }
    }
  }

  @Test func rejectedHeadEndsTheAttempt() {
    let exchange = attempt(disposition: .reject) { connection, _ in
      _ = connection.readRequest()
      connection.write(answer("endless", length: 1 << 40))
      connection.waitForHangUp()
    }
    #expect(exchange.error?.detail == "rejected 200")
    #expect(exchange.record.received.isEmpty)
  }

  @Test func rejectedBodyEndsTheAttempt() {
    let server = RawServer { connection, _ in
      _ = connection.readRequest()
      connection.write(answer("some", length: 1 << 40))
      connection.waitForHangUp()
    }
    defer { server.stop() }
    withTransport { transport, _ in
      let exchange = TestExchange(
        takes: { _ in false }, request: { _, _ in HTTPRequest(url: server.url) })
      transport.start(exchange, deadline: soon())
      exchange.wait()
      #expect(exchange.error?.detail == "rejected 200")
    }
  }

  @Test func bodiesThatAreHeldLeaveNoMemoryToOthersUntilTheyWereRead() {
    let server = RawServer { connection, _ in
      while connection.readRequest() != nil {
        connection.write(answer(String(repeating: "x", count: 100)))
      }
    }
    defer { server.stop() }
    var configuration = TransportConfiguration()
    let budget = BodyBudget(exactly: 150)
    configuration.bodyBudget = budget
    withTransport(configuration) { transport, _ in
      func collect() -> TestExchange {
        let exchange = TestExchange.get(
          server.url, disposition: { _ in .collect(limit: 4096) }, verdict: failingVerdict)
        transport.start(exchange, deadline: soon())
        exchange.wait()
        return exchange
      }
      var first: TestExchange? = collect()
      #expect(first?.failures == [])
      #expect(budget.usedBytes == 100)
      #expect(collect().failures == [.bodiesTooLarge])
      first = nil
      // The transport lets its own reference go a moment after the end.
      for _ in 0..<2000 where budget.usedBytes > 0 { usleep(1000) }
      #expect(budget.usedBytes == 0)
      #expect(collect().failures == [])
    }
  }

  @Test func collectedBodyIsHandedOverAndBounded() {
    for limit in [100, 99] {
      let exchange = attempt(disposition: .collect(limit: limit)) { connection, _ in
        _ = connection.readRequest()
        connection.write(answer(String(repeating: "x", count: 100)))
      }
      if case .response(_, let body)? = exchange.record.outcomes.first {
        #expect(limit == 100 && body.bytes.count == 100)
      } else {
        #expect(limit == 99 && exchange.failures == [.bodyTooLarge])
      }
      #expect(exchange.record.received.isEmpty)
    }
  }
}
