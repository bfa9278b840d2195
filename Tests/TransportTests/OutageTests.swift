import Logging
import Metrics
import ObjectStore
import Posix
import Testing

@testable import Transport

/// A store that is away is named and waited for; our own rate limits are told apart from it.
@Suite struct OutageTests {
  private func error(_ kind: StoreError.Kind) -> StoreError {
    StoreError(kind, store: "s3://data", detail: "refused")
  }

  @Test func aLineIsDueAfterTheIntervalAndOnceInEach() {
    let start = Instant(nanoseconds: 1_000_000_000)
    var watch = OutageWatch(interval: .seconds(60))
    watch.failed(error(.unreachable), startedAt: start, now: start + .seconds(2))
    #expect(watch.since == start && watch.nextCheck == start + .seconds(60))
    #expect(watch.line(now: start + .seconds(59)) == nil)
    watch.failed(error(.timedOut), startedAt: start + .seconds(30), now: start + .seconds(50))
    #expect(
      watch.line(now: start + .seconds(61))
        == OutageWatch.Line(lasted: .seconds(61), cause: error(.timedOut)))
    #expect(watch.line(now: start + .seconds(100)) == nil)
    #expect(watch.line(now: start + .seconds(121))?.lasted == .seconds(121))
    #expect(watch.answered(now: start + .seconds(130)) == .seconds(130))
    #expect(watch.since == nil && watch.nextCheck == .distantFuture)
  }

  @Test func aShortOutageNeedsNoLine() {
    let start = Instant(nanoseconds: 1_000_000_000)
    var watch = OutageWatch(interval: .seconds(60))
    watch.failed(error(.serverFailure), startedAt: start, now: start)
    #expect(watch.answered(now: start + .seconds(20)) == nil)
    #expect(watch.line(now: start + .seconds(90)) == nil)
  }

  @Test func whatConcernsOneObjectIsNoOutage() {
    for kind: StoreError.Kind in [.notFound, .accessDenied, .changed, .badReply, .archived] {
      #expect(!OutageWatch.concerns(error(kind)), "\(kind)")
    }
    for kind: StoreError.Kind in [.unreachable, .timedOut, .throttled, .serverFailure] {
      #expect(OutageWatch.concerns(error(kind)), "\(kind)")
    }
  }

  @Test func aStoreThatIsAwayIsNamedAndWaitedForBeyondTheUsualAttempts() {
    let port = closedPort()
    let lines = Lock<[String]>([])
    var configuration = TransportConfiguration()
    configuration.maxAttempts = 4
    configuration.waitsWhileAway = true
    configuration.namesOutageAfter = .milliseconds(5)
    let metrics = Metrics().store
    let transport = Transport(
      configuration: configuration, metrics: metrics,
      log: Logger(label: "test", factory: { _ in LineKeeper(lines: lines) }))
    defer { transport.shutdown() }
    let exchange = TestExchange.get("http://127.0.0.1:\(port)/object")
    transport.start(exchange, deadline: soon(120))
    #expect(exchange.wait { $0.attempts.count > 5 } && exchange.record.result == nil)
    let now = Int64(clamping: Instant.now.nanoseconds)
    #expect(metrics.health.report(at: now).unreachableSeconds > 0)
    let server = RawServer(port: port) { connection, _ in
      while connection.readRequest() != nil { connection.write(answer("back")) }
    }
    defer { server.stop() }
    #expect(exchange.wait() != nil && exchange.error == nil)
    #expect(metrics.health.report(at: now).unreachableSeconds == 0)
    let log = lines.withLock { $0 }
    #expect(log.contains { $0.contains("store unreachable for") }, "\(log)")
    #expect(log.contains { $0.contains("responds again") }, "\(log)")
  }

  @Test func oneObjectThatFailsIsGivenUpThoughAStoreThatIsAwayIsWaitedFor() {
    let server = RawServer { connection, _ in
      while let request = connection.readRequest() {
        connection.write(
          request.hasPrefix("GET /good") ? answer("x") : answer("", status: "500 Broken"))
      }
    }
    defer { server.stop() }
    var configuration = TransportConfiguration()
    configuration.maxAttempts = 3
    configuration.waitsWhileAway = true
    withTransport(configuration) { transport, metrics in
      let bad = TestExchange.get(server.url)
      transport.start(bad, deadline: soon(600))
      while bad.record.result == nil {
        let good = TestExchange.get("http://127.0.0.1:\(server.port)/good")
        transport.start(good, deadline: soon())
        #expect(good.wait() != nil && good.error == nil)
      }
      #expect(bad.error?.kind == .serverFailure && bad.record.attempts == [0, 1, 2])
      let now = Int64(clamping: Instant.now.nanoseconds)
      #expect(metrics.health.report(at: now).unreachableSeconds == 0)
    }
  }

  @Test func whatALimitHoldsBackIsToldToTheExchangeAndTeachesNothing() {
    let server = RawServer { connection, _ in
      while connection.readRequest() != nil { connection.write(answer("x")) }
    }
    defer { server.stop() }
    var configuration = TransportConfiguration()
    configuration.maxRequestsPerSecond = 20
    withTransport(configuration) { transport, metrics in
      let exchanges = (0..<12).map { _ in TestExchange.get(server.url) }
      for exchange in exchanges { transport.start(exchange, deadline: soon()) }
      for exchange in exchanges { #expect(exchange.wait() != nil) }
      let waits = exchanges.map(\.record.limitWait)
      // Two may leave at once; those behind them wait ever longer.
      #expect(waits[0] == .zero && waits[11] > .zero, "\(waits)")
      #expect(metrics.rateLimitedRequests.count > 0)
      let held = metrics.limitClock.nanoseconds(at: Int64(clamping: Instant.now.nanoseconds))
      #expect(held > 0)
    }
  }
}

private struct LineKeeper: LogHandler {
  let lines: Lock<[String]>
  var metadata: Logger.Metadata = [:]
  var logLevel = Logger.Level.notice
  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }
  func log(event: LogEvent) { lines.withLock { $0.append("\(event.message)") } }
}
