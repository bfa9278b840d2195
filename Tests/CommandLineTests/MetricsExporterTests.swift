import Glibc
import Posix
import TestSupport
import Testing

@testable import Control

/// A daemon's socket that answers each connection with `first`, then with a byte after each pause until the client
/// leaves or it is stopped.
private final class RawDaemon: @unchecked Sendable {
  let path: String
  private let listener: CInt
  private let isStopped = Lock(false)
  private let thread: Posix.Thread

  /// `pause`: microseconds; nil: nothing follows.
  init(_ path: String, first: String, pause: UInt32?) throws {
    self.path = path
    let raw = try ServerAddress.unix(path: path).listen().release()
    listener = raw
    let isStopped = isStopped
    thread = Posix.Thread(named: "raw-daemon") {
      while true {
        let client = accept(raw, nil, nil)
        if client < 0 { return }
        _ = Posix.Thread(named: "raw-client") {
          defer { close(client) }
          var next = Array(first.utf8)
          while !isStopped.withLock({ $0 }),
            send(client, next, next.count, CInt(MSG_NOSIGNAL)) > 0, let pause
          {
            next = Array("# x\n".utf8)
            usleep(pause)
          }
        }
      }
    }
  }

  func stop() {
    isStopped.withLock { $0 = true }
    shutdown(listener, CInt(SHUT_RDWR))
    thread.join()
    close(listener)
  }
}

/// The exporter with daemons that respond, hang and have ended.
@Suite struct MetricsExporterTests {
  /// A daemon's socket that responds with a report.
  private func daemon(_ path: String) throws -> HTTPServer {
    let server = try HTTPServer(limits: HTTPLimits(bodyBytes: 1000))
    server.start(
      .unix(path: path), failed: { Issue.record("\($0)") },
      answer: { _ in
        ControlResponse(body: Array(metricsText(statsReport()).utf8))
      })
    _ = try SocketClient(path)
    return server
  }

  private func mount(_ name: String, _ path: String?) -> ExportedMount {
    ExportedMount(
      mountPoint: "/\(name)", source: "s3://\(name)",
      socket: path.map { ControlSocket(path: $0, owner: geteuid()) })
  }

  @Test func aDaemonThatHangsIsLeftOutAndCountedAsDown() throws {
    let folder = try TemporaryFolder("exporter")
    let server = try daemon(folder.path("well"))
    defer { server.stop() }
    // It accepts connections and never responds.
    let hung = try ServerAddress.unix(path: folder.path("hung")).listen()
    let mounts = [
      mount("well", folder.path("well")), mount("hung", folder.path("hung")), mount("ended", nil),
      mount("gone", folder.path("gone")),
    ]
    let exporter = try MetricsExporter(mounts: { mounts })
    defer { exporter.stop() }
    let text = String(decoding: exporter.scrape(), as: UTF8.self)
    let lines = text.split(separator: "\n").map(String.init)
    #expect(
      lines.filter { $0.hasPrefix("millrace_mount_up{") } == [
        #"millrace_mount_up{mountpoint="/well",source="s3://well"} 1"#,
        #"millrace_mount_up{mountpoint="/hung",source="s3://hung"} 0"#,
        #"millrace_mount_up{mountpoint="/ended",source="s3://ended"} 0"#,
        #"millrace_mount_up{mountpoint="/gone",source="s3://gone"} 0"#,
      ])
    // Of the others there is nothing else.
    let labels = #"{mountpoint="/well",source="s3://well""#
    #expect(lines.contains { $0.contains(labels) && $0.hasPrefix("millrace_inodes{") })
    let others = lines.filter { !$0.hasPrefix("#") && !$0.contains(labels) }
    #expect(
      others.filter { !$0.hasPrefix("millrace_mount_up{") } == [
        "millrace_exporter_mounts_omitted 0"
      ])
    #expect(others.count == 4)
    withExtendedLifetime(hung) {}
  }

  /// Daemons of any user: one sends a byte now and then, one without end, one what is no metric.
  @Test func noDaemonDelaysOrSpoilsTheMetricsOfOthers() throws {
    let folder = try TemporaryFolder("exporter")
    let server = try daemon(folder.path("well"))
    defer { server.stop() }
    let slow = try RawDaemon(folder.path("slow"), first: "HTTP/1.1 200 OK\r\n\r\n", pause: 10_000)
    let endless = try RawDaemon(
      folder.path("endless"),
      first: "HTTP/1.1 200 OK\r\n\r\n" + String(repeating: "# x\n", count: 100_000), pause: 0)
    let wrong = try RawDaemon(
      folder.path("wrong"), first: "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nfoo bar\n",
      pause: nil)
    // Far more that are slow than there are threads, and the one that is well comes last.
    let mounts =
      (0..<100).map { mount("slow\($0)", slow.path) }
      + [
        mount("endless", endless.path), mount("wrong", wrong.path),
        mount("well", folder.path("well")),
      ]
    let exporter = try MetricsExporter(mounts: { mounts })
    defer { exporter.stop() }
    for _ in 0..<3 {
      let lines = String(decoding: exporter.scrape(), as: UTF8.self).split(separator: "\n")
      let up = lines.filter { $0.hasPrefix("millrace_mount_up{") && $0.hasSuffix(" 1") }
      #expect(up == [#"millrace_mount_up{mountpoint="/well",source="s3://well"} 1"#])
      #expect(lines.contains { $0.hasPrefix(#"millrace_inodes{mountpoint="/well""#) })
      #expect(!lines.contains { $0.contains("foo") })
    }
    for daemon in [slow, endless, wrong] { daemon.stop() }
  }

  @Test func mountsThatAreNotAskedAreCounted() throws {
    let mounts = (0..<MetricsExporter.mountLimit + 7).map { mount("m\($0)", nil) }
    let exporter = try MetricsExporter(mounts: { mounts })
    defer { exporter.stop() }
    let text = String(decoding: exporter.scrape(), as: UTF8.self)
    #expect(text.contains("\nmillrace_exporter_mounts_omitted 7\n"))
  }

  @Test func itServesMetricsOnLoopbackAndNothingElse() throws {
    let exporter = try MetricsExporter(mounts: { [] })
    defer { exporter.stop() }
    let port = Monitor<UInt16?>(nil)
    exporter.start(
      host: "127.0.0.1", port: 0, listens: { found in port.signal { $0 = found } },
      failed: { Issue.record("\($0)") })
    let base = "http://127.0.0.1:\(try #require(port.wait(until: .now + .seconds(30)) { $0 }))"
    func ask(_ arguments: String...) throws -> String {
      try CommandResult.check(["curl", "-sS", "-i", "--max-time", "30"] + arguments).output
    }
    let metrics = try ask(base + "/metrics")
    #expect(
      metrics.contains("Content-Type: text/plain; version=0.0.4; charset=utf-8"), "\(metrics)")
    #expect(metrics.contains("# TYPE millrace_mount_up gauge\n"), "\(metrics)")
    #expect(try ask(base + "/").contains("404 Not Found"))
    #expect(try ask(base + "/v1/stats").contains("404 Not Found"))
    #expect(try ask("-d", "x", base + "/metrics").contains("405 Method Not Allowed"))
  }

  @Test func aPortThatIsTakenIsReported() throws {
    let address = ServerAddress.internet(host: "127.0.0.1", port: 0)
    let taken = try address.listen()
    let port = ServerAddress.port(of: taken)
    let exporter = try MetricsExporter(mounts: { [] })
    defer { exporter.stop() }
    let reason = Monitor<String?>(nil)
    exporter.start(
      host: "127.0.0.1", port: port, listens: { _ in },
      failed: { text in reason.signal { $0 = text } })
    let said = try #require(reason.wait(until: .now + .seconds(30)) { $0 })
    #expect(said == "cannot listen on 127.0.0.1:\(port): Address already in use")
    withExtendedLifetime(taken) {}
  }
}
