import Foundation
import Glibc
import LinkServer
import Posix
import TestSupport
import Testing

extension MountTests {
  /// The numbers of a mount, by each of the ways to them.
  @Suite struct MetricsOfMounts {
    private static let mallory: uid_t = 65533

    private func read(_ mount: MountedMillrace, _ name: String) throws -> String {
      try readText(mount.path + "/.millrace/" + name)
    }

    private func value(_ line: String, in text: String) -> Double? {
      text.split(separator: "\n").first { $0.hasPrefix(line + " ") }
        .flatMap { $0.split(separator: " ").last }.flatMap { Double($0) }
    }

    @Test func theSocketAndTheMountHaveTheSameNumbers() throws {
      let rig = try PrefetchRig(["--prefetch", "off"])
      defer { rig.server.stop() }
      for index in 0..<3 { _ = try readFile(rig.mount.path + "/d/\(1000 + index).bin") }
      let socket = try rig.mount.stats().text("socket")
      let asked = try CommandResult.check([
        "curl", "-sS", "-i", "--unix-socket", socket, "http://millrace/v1/metrics?processes=1",
      ]).output
      let own = try read(rig.mount, "metrics")
      #expect(asked.contains("Content-Type: text/plain; version=0.0.4"), "\(asked)")
      for text in [asked, own] {
        #expect(value("millrace_files_opened_total", in: text) == 3, "\(text)")
        #expect(
          value(#"millrace_read_bytes_total{tier="store"}"#, in: text)
            == Double(3 * PrefetchRig.size), "\(text)")
      }
      #expect(asked.contains("millrace_process_opens_total{process="), "\(asked)")
      #expect(!own.contains("process="), "\(own)")
      let json = Data(try read(rig.mount, "stats.json").utf8)
      let stats = try #require(try JSONSerialization.jsonObject(with: json) as? [String: Any])
      let counters = try #require(stats["counters"] as? [String: Any])
      #expect(counters["reads.filesOpened"] as? Int == 3)
      try rig.mount.unmount()
    }

    @Test func anOpenFileIsOneReport() throws {
      let rig = try PrefetchRig(["--prefetch", "off"])
      defer { rig.server.stop() }
      let path = rig.mount.path + "/.millrace/metrics"
      let file = open(path, O_RDONLY | O_CLOEXEC)
      #expect(file >= 0)
      func opened(_ offset: off_t, _ count: Int) -> String {
        var buffer = [UInt8](repeating: 0, count: count)
        let got = pread(file, &buffer, count, offset)
        return String(decoding: buffer.prefix(max(0, got)), as: UTF8.self)
      }
      let before = opened(0, 1 << 20)
      #expect(value("millrace_files_opened_total", in: before) == 0)
      _ = try readFile(rig.mount.path + "/d/1000.bin")
      #expect(opened(0, 1 << 20) == before)
      #expect(opened(100, 50) == String(before.dropFirst(100).prefix(50)))
      #expect(opened(off_t(before.utf8.count), 50) == "")
      #expect(value("millrace_files_opened_total", in: try readText(path)) == 1)
      close(file)
      // They are there to be read, and stay.
      let names = try namesIn(rig.mount.path + "/.millrace").map {
        String(decoding: $0, as: UTF8.self)
      }
      #expect(Set(names).isSuperset(of: ["order", "metrics", "stats.json"]), "\(names)")
      #expect(open(path, O_WRONLY | O_CLOEXEC) == -1 && errno == EACCES)
      #expect(open(path, O_RDONLY | O_TRUNC | O_CLOEXEC) == -1 && errno == EACCES)
      #expect(unlink(path) == -1 && errno == EPERM)
      #expect(chmod(path, 0o666) == -1)
      try rig.mount.unmount()
    }

    @Test(.enabled(if: requireOrSkip(.root)))
    func anotherUserOfTheMountSeesNoProcessesAndNoPaths() throws {
      let scratch = try TemporaryFolder("metrics")
      #expect(chmod(scratch.path, 0o755) == 0)
      try scratch.file("tree/secret-name", text: "text")
      let mount = try MountedMillrace(
        "file://" + scratch.path("tree"), cache: scratch.folder("cache"),
        at: scratch.folder("mnt"), options: ["--allow-other"])
      try CommandResult.check(["cat", mount.path + "/secret-name"])
      for name in ["metrics", "stats.json"] {
        let result = try CommandResult.check([
          "setpriv", "--reuid", "\(Self.mallory)", "--regid", "\(Self.mallory)", "--clear-groups",
          "cat", mount.path + "/.millrace/" + name,
        ])
        #expect(result.output.contains("1"), "\(result)")
        let secrets = [
          "secret-name", "\"cat\"", scratch.path("cache"), scratch.path("mnt"), ".sock",
        ]
        for secret in secrets {
          #expect(!result.output.contains(secret), "\(secret): \(result.output)")
        }
      }
      // The socket tells its user.
      let all = try CommandResult.check([Checkout.millrace(), "stats", mount.path, "--json"]).output
      #expect(all.contains(#""name" : "cat""#), "\(all)")
      try mount.unmount()
    }

    @Test(.enabled(if: requireOrSkip(.program("prometheus"), .program("promtool"))))
    func prometheusScrapesALoadedMountThroughTheExporter() throws {
      let rig = try PrefetchRig(["--prefetch", "off"])
      defer { rig.server.stop() }
      let ports = try freePorts(2)
      let exporter = try ServerProcess(
        [Checkout.millrace(), "exporter", "--listen", "127.0.0.1:\(ports[0])", "--processes"],
        port: ports[0],
        log: rig.scratch.path("exporter.log"))
      let end = rig.scratch.path("end")
      let load = try ChildProcess([
        "sh", "-c", "while [ ! -e \(end) ]; do cat \(rig.mount.path)/d/*.bin > /dev/null; done",
      ])
      let configuration = try rig.scratch.file(
        "prometheus.yml",
        text: """
          global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
          rule_files: ["\(Checkout.root)/docs/deploy/prometheus-alerts.yml"]
          scrape_configs:
            - job_name: millrace
              static_configs: [{targets: ["127.0.0.1:\(ports[0])"]}]

          """)
      let prometheus = try ServerProcess(
        [
          "prometheus", "--config.file", configuration, "--storage.tsdb.path",
          rig.scratch.path("prometheus"), "--web.listen-address", "127.0.0.1:\(ports[1])",
        ], port: ports[1], log: rig.scratch.path("prometheus.log"))
      defer {
        prometheus.stop()
        exporter.stop()
      }
      /// The value of a query for this mount.
      func query(_ text: String) -> Double? {
        let result = try? CommandResult.run([
          "curl", "-sS", "--max-time", "10", "--get", "--data-urlencode", "query=\(text)",
          "http://127.0.0.1:\(ports[1])/api/v1/query",
        ])
        guard let result,
          let json = try? JSONSerialization.jsonObject(with: Data(result.output.utf8)),
          let data = (json as? [String: Any])?["data"] as? [String: Any],
          let rows = data["result"] as? [[String: Any]], rows.count == 1,
          let value = (rows[0]["value"] as? [Any])?.last as? String
        else { return nil }
        return Double(value)
      }
      let labels = "mountpoint=\"\(rig.mount.path)\",source=\"s3://data\""
      let wanted = [
        "millrace_mount_up{\(labels)} == 1", "millrace_files_opened_total{\(labels)} > 600",
        "sum(millrace_read_bytes_total{\(labels)}) > 1000000",
        "sum(rate(millrace_fuse_requests_total{\(labels)}[10s])) > 0",
        "millrace_process_opens_total{\(labels),process=\"cat\"} > 0",
      ]
      for text in wanted {
        let found = waitFor(within: .seconds(60)) { query(text) }
        #expect(found != nil, "\(text): \((try? readText(prometheus.log)) ?? "")")
      }
      let scraped = try CommandResult.check([
        "curl", "-sS", "http://127.0.0.1:\(ports[0])/metrics",
      ]).output
      let check = try CommandResult.run(["promtool", "check", "metrics"], input: scraped)
      #expect(check.succeeded && check.errors.isEmpty, "\(check)")
      try rig.scratch.file("end", text: "")
      #expect(load.wait(within: .seconds(60)) == .exited(0))
      prometheus.stop()
      exporter.stop()
      try rig.mount.unmount()
    }

    /// A daemon that is stopped does not hold up the others.
    @Test func aStoppedDaemonIsDownAndTheOthersAreServed() throws {
      let rigs = try (0..<2).map { _ in try PrefetchRig(["--prefetch", "off"], files: 2) }
      defer { for rig in rigs { rig.server.stop() } }
      let port = try freePorts(1)[0]
      let exporter = try ServerProcess(
        [Checkout.millrace(), "exporter", "--listen", "127.0.0.1:\(port)"], port: port,
        log: rigs[0].scratch.path("exporter.log"))
      defer { exporter.stop() }
      func up(_ rig: PrefetchRig) throws -> Double? {
        let text = try CommandResult.check([
          "curl", "-sS", "--max-time", "30", "http://127.0.0.1:\(port)/metrics",
        ]).output
        return value(
          "millrace_mount_up{mountpoint=\"\(rig.mount.path)\",source=\"s3://data\"}", in: text)
      }
      for rig in rigs {
        #expect(waitFor(within: .seconds(30)) { (try? up(rig)) == 1 ? true : nil } == true)
      }
      rigs[0].mount.signal(SIGSTOP)
      defer { rigs[0].mount.signal(SIGCONT) }
      #expect(try up(rigs[0]) == 0)
      #expect(waitFor(within: .seconds(30)) { (try? up(rigs[1])) == 1 ? true : nil } == true)
      rigs[0].mount.signal(SIGCONT)
      #expect(waitFor(within: .seconds(30)) { (try? up(rigs[0])) == 1 ? true : nil } == true)
      for rig in rigs { try rig.mount.unmount() }
    }
  }
}
