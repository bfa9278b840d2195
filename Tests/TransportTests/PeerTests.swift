import ObjectStore
import Posix
import Testing

@testable import Transport

/// Where a server may send its readers to.
struct PeerTests {
  @Test func addressesAreKnownByTheirNetwork() throws {
    for (literal, nearness) in [
      ("8.8.8.8", .everywhere), ("172.32.0.1", .everywhere), ("2001:4860::8888", .everywhere),
      ("10.1.2.3", .privateNetwork), ("172.16.0.1", .privateNetwork),
      ("192.168.1.1", .privateNetwork), ("100.64.0.1", .privateNetwork),
      ("fd12::1", .privateNetwork), ("127.0.0.1", .thisMachine), ("0.0.0.0", .thisMachine),
      ("::1", .thisMachine), ("::", .thisMachine), ("::ffff:127.0.0.1", .thisMachine),
      ("::ffff:10.0.0.1", .privateNetwork), ("64:ff9b::7f00:1", .thisMachine),
      ("169.254.169.254", .link), ("::ffff:169.254.169.254", .link), ("fe80::1", .link),
      ("fd00:ec2::254", .link), ("224.0.0.1", .link), ("255.255.255.255", .link),
    ] as [(String, PeerPolicy.Nearness)] {
      #expect(try #require(PeerAddress(literal: literal)).nearness == nearness, "\(literal)")
    }
    #expect(PeerAddress(literal: "example.org") == nil)
  }

  @Test func fromOnePlaceNothingNearerIsFollowed() {
    let all: [PeerPolicy.Nearness] = [.everywhere, .privateNetwork, .thisMachine, .link]
    for own in all.dropLast() {
      for other in all { #expect(PeerPolicy(own: own).allows(other) == (other <= own)) }
    }
    #expect(PeerPolicy(host: "localhost").allows(.thisMachine))
    #expect(PeerPolicy(host: "[::1]").isThisMachine)
    #expect(!PeerPolicy(host: "example.org").allows(.privateNetwork))
    let policy = PeerPolicy(host: "storage.lan")
    policy.recordOwn(.privateNetwork)
    #expect(policy.allows(.privateNetwork) && !policy.allows(.thisMachine))
  }

  /// The name that leads to this machine is not in the address, so the connection itself has to be looked at.
  @Test func anAddressThatASiteNamesIsCheckedWhenItIsConnectedTo() {
    let server = RawServer { connection, _ in
      while connection.readRequest() != nil {
        guard connection.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") else { return }
      }
    }
    defer { server.stop() }
    let port = server.port
    func ask(_ transport: Transport, _ peer: RequestPeer) -> (succeeded: Bool, words: String) {
      let verdict: @Sendable (AttemptOutcome) -> Verdict = { outcome in
        if case .response = outcome { return .succeeded }
        guard case .transferFailed(let failure, _) = outcome else {
          return .failed(StoreError(.badReply, store: "t", detail: "rejected"))
        }
        return .failed(StoreError(.badReply, store: "t", detail: failure.detail))
      }
      let request: @Sendable (Int, Int) -> HTTPRequest = { _, _ in
        var request = HTTPRequest(url: "http://localhost:\(port)/")
        request.peer = peer
        return request
      }
      let exchange = TestExchange(verdict: verdict, request: request)
      transport.start(exchange, deadline: soon())
      let result = exchange.wait()
      if case .failure(let error) = result { return (false, error.detail) }
      return (true, "")
    }
    withTransport(TransportConfiguration()) { transport, _ in
      let refused = ask(transport, .named(by: PeerPolicy()))
      #expect(!refused.succeeded && refused.words.contains("--allow-private"), "\(refused.words)")
      let own = PeerPolicy()
      #expect(ask(transport, .own(own)).succeeded)
      // The site turned out to be on this machine itself.
      #expect(ask(transport, .named(by: own)).succeeded)
      #expect(ask(transport, .user).succeeded)
    }
  }

  @Test func everyOptionThatSafetyHangsOnIsSet() {
    var handle = EasyHandle()
    var configuration = TransportConfiguration()
    configuration.caBundle = "/etc/ssl/certs/ca-certificates.crt"
    handle.setConstants(configuration, share: nil)
    #expect(handle.missing == nil)
  }
}
