import Metrics
import ObjectStore
import Posix
import Testing

@testable import Transport

/// All faults at once: what comes out must be every byte, in order, for everybody.
@Suite struct MixedFaultTests {
  private static let content = (0..<60_000).map { UInt8(truncatingIfNeeded: $0 &* 7 >> 2) }

  /// Answers a request from `Range: bytes=N-` rightly or, about every second time, in a broken way.
  /// False: the connection is done with.
  private static func serve(
    _ connection: RawConnection, _ request: String, _ random: inout SeededGenerator
  ) -> Bool {
    let range = request.split(separator: "\r\n").first { $0.hasPrefix("Range: bytes=") }
    let rest = Array(content[(range.flatMap { Int($0.dropFirst(13).dropLast()) } ?? 0)...])
    let head = "HTTP/1.1 206 Partial\r\nContent-Length: \(rest.count)\r\n\r\n"
    let part = Array(rest.prefix(Int.random(in: 0..<rest.count + 1, using: &random)))
    switch Int.random(in: 0..<10, using: &random) {
    case 0: return connection.write(answer("broken", status: "500 Broken"))
    case 1: return connection.write(answer("slow", status: "503 Slow Down"))
    case 2: return false
    case 3:
      connection.write(head)
      connection.write(part)
      return false
    case 4:
      connection.write(head)
      connection.write(part)
      connection.reset()
      return false
    case 5:
      connection.write(head)
      connection.write(part)
      connection.waitForHangUp()
      return false
    default: return connection.write(Array(head.utf8) + rest)
    }
  }

  @Test func everyByteArrivesThroughMixedFaults() {
    let seed = UInt64.random(in: 0...(.max))
    print("mixed faults: seed \(seed)")
    let server = RawServer { connection, index in
      var random = SeededGenerator(seed: seed &+ UInt64(index))
      while let request = connection.readRequest() {
        guard Self.serve(connection, request, &random) else { return }
      }
    }
    defer { server.stop() }
    let configuration = limits {
      $0.maxConcurrentTransfers = 16
      $0.stallTimeout = .milliseconds(200)
      $0.maxAttempts = 40
    }
    withTransport(configuration) { transport, metrics in
      let exchanges = (0..<100).map { _ in TestExchange.get(server.url) }
      for exchange in exchanges { transport.start(exchange, deadline: soon(60)) }
      for exchange in exchanges {
        exchange.wait()
        #expect(exchange.error == nil, "seed \(seed)")
        #expect(exchange.record.received == Self.content, "seed \(seed)")
        #expect(exchange.record.finishes == 1)
      }
      #expect(metrics.inFlight.current == 0 && metrics.retries.count > 0)
    }
  }
}
