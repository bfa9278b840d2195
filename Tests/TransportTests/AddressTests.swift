import Glibc
import Metrics
import Posix
import Testing

@testable import Transport

/// Connections go to every address that a name has.
struct AddressTests {
  private let host = HostAddressPool.Host(name: "store", port: 80)

  @Test func addressesAreUsedEvenlyAndIdleOnesAgain() {
    for seed in 0..<1000 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      var book = HostAddressPool()
      var now = Instant(nanoseconds: 1_000_000_000)
      _ = book.mustLookUp(host, now: now)
      let names = (0..<Int.random(in: 2...8, using: &random)).map { "10.0.0.\($0)" }
      book.lookedUp(host, names, now: now)
      var flying: [String] = []
      for _ in 0..<300 {
        now = now + .milliseconds(5)
        if Bool.random(using: &random) || flying.isEmpty {
          let address = book.acquire(host, now: now)!
          let counts = names.map { name in flying.count { $0 == name } }
          #expect(flying.count { $0 == address } == counts.min(), "seed \(seed)")
          flying.append(address)
        } else {
          let index = Int.random(in: flying.indices, using: &random)
          book.release(flying.remove(at: index), of: host, failed: false, now: now)
        }
      }
    }
  }

  @Test func oneAfterAnotherStaysOnOneConnection() {
    var book = HostAddressPool()
    let now = Instant(nanoseconds: 1)
    _ = book.mustLookUp(host, now: now)
    book.lookedUp(host, ["10.0.0.1", "10.0.0.2"], now: now)
    let first = book.acquire(host, now: now)!
    for _ in 0..<10 {
      book.release(first, of: host, failed: false, now: now)
      let next = book.acquire(host, now: now)
      #expect(next == first)
    }
    let other = book.acquire(host, avoiding: first, now: now)
    #expect(other != first)
  }

  @Test func anAddressThatFailsIsLeftAloneForAWhile() {
    var book = HostAddressPool()
    var now = Instant(nanoseconds: 1)
    _ = book.mustLookUp(host, now: now)
    book.lookedUp(host, ["10.0.0.1", "10.0.0.2"], now: now)
    let bad = book.acquire(host, now: now)!
    book.release(bad, of: host, failed: true, now: now)
    for _ in 0..<5 {
      let other = book.acquire(host, now: now)
      #expect(other != bad)
    }
    now = now + HostAddressPool.quarantine
    let again = book.acquire(host, now: now)
    #expect(again == bad)
    // One at a time until it has answered, and longer alone when it fails again.
    let second = book.acquire(host, now: now)
    #expect(second != bad)
    book.release(bad, of: host, failed: true, now: now)
    now = now + HostAddressPool.quarantine
    let early = book.acquire(host, now: now)
    #expect(early != bad)
  }

  @Test func whereNoAddressWorksLibcurlConnectsByItself() {
    var book = HostAddressPool()
    let now = Instant(nanoseconds: 1)
    _ = book.mustLookUp(host, now: now)
    book.lookedUp(host, ["10.0.0.1", "10.0.0.2"], now: now)
    for _ in 0..<2 {
      let address = book.acquire(host, now: now)!
      book.release(address, of: host, failed: true, now: now)
    }
    let none = book.acquire(host, now: now)
    #expect(none == nil)
  }

  @Test func whatIsKeptIsBounded() {
    var book = HostAddressPool()
    var now = Instant(nanoseconds: 1)
    for index in 0..<200 {
      let host = HostAddressPool.Host(name: "store-\(index)", port: 443)
      let answers = [book.mustLookUp(host, now: now), book.mustLookUp(host, now: now)]
      #expect(answers == [true, false])
      for batch in 0..<10 {
        now = now + .milliseconds(1)
        book.lookedUp(host, (0..<8).map { "10.0.\(batch).\($0)" }, now: now)
        #expect(book.addresses(of: host).count <= HostAddressPool.mostAddresses)
      }
    }
    let known = (0..<200).count {
      !book.addresses(of: HostAddressPool.Host(name: "store-\($0)", port: 443)).isEmpty
    }
    #expect(known <= HostAddressPool.mostHosts)
  }

  @Test func addressesAndOddNamesAreNotLookedUp() {
    #expect(
      HostAddressPool.Host("https://s3.example.com") == .init(name: "s3.example.com", port: 443))
    #expect(HostAddressPool.Host("http://Store:8333") == .init(name: "store", port: 8333))
    for origin in ["http://127.0.0.1:80", "http://[::1]:80", "http://", "ftp://a", "http://a:b"] {
      #expect(HostAddressPool.Host(origin) == nil, "\(origin)")
    }
  }

  @Test func connectionsAreSpreadOverTheAddressesOfAName() {
    let barrier = Monitor(0)
    let serve: @Sendable (RawConnection, Int) -> Void = { connection, _ in
      while let request = connection.readRequest() {
        // Together, so that none can have the connection of another.
        if request.hasPrefix("GET /object") {
          barrier.signal(all: true) { $0 += 1 }
          _ = barrier.wait(until: soon()) { $0 >= 8 ? true : nil }
        }
        connection.write(answer("body"))
      }
    }
    let first = RawServer(serve)
    defer { first.stop() }
    let second = RawServer(address: "127.0.0.2", port: first.port, serve)
    defer { second.stop() }
    let asked = Counting()
    // Nobody listens on the third.
    let configuration = limits {
      $0.lookUp = { _ in
        _ = asked.next()
        return ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
      }
    }
    withTransport(configuration) { transport, metrics in
      func get(_ path: String) -> TestExchange {
        let exchange = TestExchange.get("http://localhost:\(first.port)/\(path)")
        transport.start(exchange, deadline: soon())
        return exchange
      }
      // Until the name has been looked up libcurl decides; the third address fails once.
      let end = soon()
      while second.connections == 0 || metrics.retries.count == 0, .now < end {
        let several = (0..<3).map { _ in get("warm") }
        for exchange in several {
          #expect(exchange.wait() != nil)
          #expect(exchange.error == nil)
        }
      }
      let before = (first.connections, second.connections)
      let exchanges = (0..<8).map { _ in get("object") }
      for exchange in exchanges {
        #expect(exchange.wait() != nil)
        #expect(exchange.error == nil)
      }
      #expect(before.0 > 0 && before.1 > 0)
      #expect(first.connections >= 3 && second.connections >= 3)
      #expect(asked.next() == 1)
    }
  }
}
