import Glibc
import Metrics
import ObjectStore
import Posix
import Testing

@testable import Transport

/// Against a real server: ranges, reuse of connections, methods, TLS.
@Suite(
  .enabled(
    if: NginxServer.isInstalled || getenv("CI") != nil, "nginx is not installed (nginx-light)"))
struct NginxTests {
  private static let content = (0..<1_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) }

  private func withServer(tls: Bool = false, _ body: (NginxServer) throws -> Void) throws {
    let server = try NginxServer(files: [("object", Self.content)], withTLS: tls)
    defer { server.stop() }
    try body(server)
  }

  private func range(_ range: Range<Int>, of url: String) -> TestExchange {
    TestExchange(verdict: failingVerdict) { _, _ in
      HTTPRequest(
        url: url, headers: [("Range", "bytes=\(range.lowerBound)-\(range.upperBound - 1)")])
    }
  }

  @Test func manyRangesAtOnceArriveWholeOverFewConnections() throws {
    try withServer { server in
      withTransport(limits { $0.maxConcurrentTransfers = 16 }) { transport, metrics in
        let ranges = (0..<400).map { ($0 * 2347)..<min(1_000_000, $0 * 2347 + 100_000) }
        let exchanges = ranges.map { range($0, of: server.url("object")) }
        for exchange in exchanges { transport.start(exchange, deadline: soon()) }
        for (exchange, range) in zip(exchanges, ranges) {
          exchange.wait()
          #expect(exchange.error == nil && exchange.record.heads.first?.status == 206)
          #expect(exchange.record.received == Array(Self.content[range]))
        }
        #expect(metrics.inFlight.peak == 16 && metrics.inFlight.current == 0)
        #expect(metrics.connectionsOpened.count <= 16)
      }
    }
  }

  @Test func requestsGoOutAsTheyWereWritten() throws {
    try withServer { server in
      withTransport { transport, _ in
        func echo(_ request: HTTPRequest) -> String {
          let exchange = TestExchange(
            disposition: { _ in .collect(limit: 4096) }, verdict: failingVerdict
          ) { _, _ in request }
          transport.start(exchange, deadline: soon())
          exchange.wait()
          guard case .response(_, let body)? = exchange.record.outcomes.first else { return "" }
          return String(decoding: body.bytes, as: UTF8.self)
        }
        let url = server.url("echo/a%20b/./../c//d?x=1&y")
        #expect(
          echo(HTTPRequest(url: url, headers: [("X-Empty", "")]))
            == "GET /echo/a%20b/./../c//d?x=1&y millrace|||||")
        let put = HTTPRequest(
          method: .put, url: server.url("echo/k"), body: [UInt8](repeating: 1, count: 5000))
        #expect(echo(put) == "PUT /echo/k millrace||||5000|")
        let post = HTTPRequest(
          method: .post, url: server.url("echo/k"),
          headers: [("Content-Type", "text/plain"), ("Accept-Encoding", "identity")],
          body: Array("x".utf8))
        #expect(echo(post) == "POST /echo/k millrace|identity||text/plain|1|")
        #expect(
          echo(HTTPRequest(method: .put, url: server.url("echo/k")))
            == "PUT /echo/k millrace||||0|")
        // The handle is the same one: nothing of PUT and POST may stick to it.
        #expect(echo(HTTPRequest(url: server.url("echo/k"))) == "GET /echo/k millrace|||||")
      }
    }
  }

  @Test func headHasALengthAndNoBody() throws {
    try withServer { server in
      withTransport { transport, metrics in
        for _ in 0..<3 {
          let exchange = TestExchange(verdict: failingVerdict) { _, _ in
            HTTPRequest(method: .head, url: server.url("object"))
          }
          transport.start(exchange, deadline: soon())
          exchange.wait()
          #expect(exchange.error == nil)
          #expect(exchange.record.heads.first?["content-length"] == "1000000")
          #expect(exchange.record.received.isEmpty)
        }
        #expect(metrics.connectionsOpened.count == 1)
      }
    }
  }

  @Test func unknownCertificateIsRefusedAndATrustedOneAccepted() throws {
    try withServer(tls: true) { server in
      for bundle in [nil, server.certificate, "/no/such/file.pem"] {
        withTransport(limits { $0.caBundle = bundle }) { transport, _ in
          let exchange = range(0..<1000, of: server.tlsURL("object"))
          transport.start(exchange, deadline: soon())
          exchange.wait()
          if bundle == server.certificate {
            #expect(exchange.error == nil)
            #expect(exchange.record.received == Array(Self.content[0..<1000]))
          } else {
            #expect(exchange.failures == [.tls])
            #expect(exchange.record.heads.isEmpty)
          }
        }
      }
    }
  }

  @Test func certificateOfAnotherHostIsRefused() throws {
    try withServer(tls: true) { server in
      withTransport(limits { $0.caBundle = server.certificate }) { transport, _ in
        let exchange = range(0..<10, of: "https://127.0.0.1:\(server.tlsPort)/object")
        transport.start(exchange, deadline: soon())
        exchange.wait()
        #expect(exchange.failures == [.tls])
      }
    }
  }
}
