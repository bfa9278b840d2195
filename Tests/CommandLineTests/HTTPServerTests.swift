import Glibc
import NIOHTTP1
import Posix
import TestSupport
import Testing

@testable import Control

/// The control socket's server with real clients on a unix socket.
@Suite(.serialized) struct HTTPServerTests {
  private final class Rig {
    let folder: TemporaryFolder
    let path: String
    let server: HTTPServer

    init(
      _ limits: HTTPLimits = HTTPLimits(bodyBytes: 1 << 20),
      _ answer: @escaping @Sendable (ControlRequest) async -> ControlResponse = echo
    ) throws {
      folder = try TemporaryFolder("http")
      path = folder.path("s")
      server = try HTTPServer(limits: limits)
      server.start(.unix(path: path), failed: { Issue.record("\($0)") }, answer: answer)
    }

    deinit { server.stop() }

    func client() throws -> SocketClient { try SocketClient(path) }
  }

  /// "METHOD PATH: BODY." in place of JSON.
  @Sendable private static func echo(_ request: ControlRequest) async -> ControlResponse {
    let text = "\(request.method) \(request.path): "
    if let excess = request.body.excess {
      return Routes.refuse(.payloadTooLarge, "\(text)\(excess).")
    }
    return ControlResponse(body: Array(text.utf8) + request.body.bytes + Array(".".utf8))
  }

  @Test func requestsOnOneConnectionAreAnsweredInTheirOrder() throws {
    let rig = try Rig()
    let client = try rig.client()
    client.send("GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n")
    #expect(try #require(client.receive(through: "/a: .")).hasSuffix("\r\n\r\nGET /a: ."))
    // Three at once, one of them in chunks.
    client.send(
      "POST /b HTTP/1.1\r\nContent-Length: 3\r\n\r\nxyz"
        + "POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
        + "HEAD /d HTTP/1.1\r\n\r\nGET /e HTTP/1.1\r\nConnection: close\r\n\r\n")
    let all = client.receiveAll()
    let places = ["POST /b: xyz.", "POST /c: abc.", "GET /e: ."].map {
      all.firstRange(of: $0)?.lowerBound
    }
    #expect(places.allSatisfy { $0 != nil }, "\(all)")
    #expect(zip(places, places.dropFirst()).allSatisfy { $0! < $1! }, "\(all)")
    // A response to HEAD has no body.
    #expect(!all.contains("HEAD /d"), "\(all)")
    #expect(all.split(separator: "HTTP/1.1 200 OK").count == 4, "\(all)")
  }

  @Test func aClientThatAsksWhetherToSendItsBodyIsToldTo() throws {
    let rig = try Rig()
    let client = try rig.client()
    client.send("POST /b HTTP/1.1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
    #expect(client.receive(through: "\r\n\r\n") == "HTTP/1.1 100 Continue\r\n\r\n")
    client.send("xyz")
    #expect(try #require(client.receive(through: "xyz.")).hasSuffix("POST /b: xyz."))
  }

  @Test func aClientThatHasFinishedSendingGetsItsResponse() throws {
    let rig = try Rig()
    let client = try rig.client()
    client.send("GET /a HTTP/1.1\r\n\r\n")
    client.finishSending()
    #expect(client.receiveAll().hasSuffix("GET /a: ."))
    let part = try rig.client()
    part.send("GET /a HTTP/1.1\r\n")
    part.finishSending()
    #expect(!part.receiveAll().contains("200"))
  }

  @Test func headsAndBodiesHaveABound() throws {
    let rig = try Rig(HTTPLimits(headBytes: 4096, bodyBytes: 1000))
    let long = String(repeating: "x", count: 5000)
    for head in ["GET /\(long) HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nName: \(long)\r\n\r\n"] {
      let client = try rig.client()
      client.send(head)
      let response = client.receiveAll()
      #expect(response.hasPrefix("HTTP/1.1 431"), "\(response)")
      #expect(response.contains(#""error" : "the head of a request has at most 4 KiB""#))
    }
    let client = try rig.client()
    client.send("POST /b HTTP/1.1\r\nContent-Length: 5000\r\n\r\n\(long)")
    let refusal = try #require(client.receive(through: "own."))
    #expect(refusal.hasPrefix("HTTP/1.1 413") && refusal.hasSuffix("POST /b: own."), "\(refusal)")
    // The body was read to its end: the next request is one.
    client.send("GET /a HTTP/1.1\r\n\r\n")
    #expect(try #require(client.receive(through: "/a: .")).contains("200 OK"))
    let garbage = try rig.client()
    garbage.send("\u{1}\u{2}\u{3} nonsense\r\n\r\n")
    #expect(garbage.receiveAll().hasPrefix("HTTP/1.1 400"))
  }

  @Test func aSilentClientIsClosed() throws {
    var limits = HTTPLimits(bodyBytes: 1000)
    limits.patience = .milliseconds(40)
    let rig = try Rig(limits)
    for start in ["", "GET / HT", "POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc"] {
      let client = try rig.client()
      client.send(start)
      #expect(client.receiveAll() == "", "\(start)")
    }
    #expect(waitFor(within: .seconds(30)) { rig.server.connections == 0 ? true : nil } == true)
  }

  @Test func connectionsBeyondTheLimitWaitForAPlace() throws {
    var limits = HTTPLimits(bodyBytes: 1000)
    limits.connections = 3
    let rig = try Rig(limits)
    var clients: [SocketClient] = []
    for _ in 0..<3 {
      let client = try rig.client()
      client.send("GET /a HTTP/1.1\r\n\r\n")
      #expect(client.receive(through: "/a: .") != nil)
      clients.append(client)
    }
    let next = try rig.client()
    next.send("GET /b HTTP/1.1\r\n\r\n")
    clients[0].send("GET /c HTTP/1.1\r\n\r\n")
    #expect(clients[0].receive(through: "/c: .") != nil)
    #expect(rig.server.connections == 3)
    clients.removeFirst()
    #expect(next.receive(through: "/b: .") != nil)
    #expect(rig.server.connections <= 3)
  }

  @Test func aRequestWhoseClientIsGoneIsCancelled() throws {
    let state = Monitor((begun: false, cancelled: false))
    let rig = try Rig(HTTPLimits(bodyBytes: 1000)) { _ in
      state.signal(all: true) { $0.begun = true }
      try? await Task.sleep(for: .seconds(600))
      state.signal(all: true) { $0.cancelled = Task.isCancelled }
      return ControlResponse()
    }
    var client: SocketClient? = try rig.client()
    client?.send("GET /a HTTP/1.1\r\n\r\n")
    #expect(state.wait(until: .now + .seconds(30)) { $0.begun ? true : nil } == true)
    client = nil
    #expect(state.wait(until: .now + .seconds(30)) { $0.cancelled ? true : nil } == true)
  }

  @Test func stoppingClosesConnectionsAndTheSocket() throws {
    let rig = try Rig()
    let client = try rig.client()
    client.send("GET /a HTTP/1.1\r\n\r\n")
    #expect(client.receive(through: "/a: .") != nil)
    rig.server.stop()
    #expect(client.receiveAll() == "")
    #expect(waitFor(within: .seconds(30)) { rig.server.connections == 0 ? true : nil } == true)
  }

  /// No descriptor of the server reaches a child process: not the listening socket, not a connection, not the epoll.
  @Test func descriptorsAreClosedInChildren() throws {
    let rig = try Rig()
    let client = try rig.client()
    client.send("GET /a HTTP/1.1\r\n\r\n")
    #expect(client.receive(through: "/a: .") != nil)
    var sockets = 0
    for number in 3..<CInt(4096) where fcntl(number, F_GETFD) >= 0 {
      let target = String(decoding: descriptorTarget(number), as: UTF8.self)
      let isServers = Self.localPath(of: number) == rig.path
      guard isServers || target == "anon_inode:[eventpoll]" else { continue }
      if isServers { sockets += 1 }
      // Another test's loop may be at its first step.
      let isClosed = waitFor(within: .seconds(10)) {
        fcntl(number, F_GETFD) & FD_CLOEXEC != 0 ? true : nil
      }
      #expect(isClosed == true, "\(number): \(target)")
    }
    #expect(sockets == 2)
  }

  private static func localPath(of descriptor: CInt) -> String? {
    var address = sockaddr_un()
    var size = socklen_t(MemoryLayout<sockaddr_un>.size)
    let result = withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        getsockname(descriptor, $0, &size)
      }
    }
    guard result == 0, address.sun_family == sa_family_t(AF_UNIX) else { return nil }
    return withUnsafeBytes(of: &address.sun_path) {
      String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
    }
  }
}
