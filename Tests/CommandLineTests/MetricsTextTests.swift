import FileSystem
import Metrics
import Prefetch
import ReadEngine
import TestSupport
import Testing

@testable import Control

/// The Prometheus text of a mount.
@Suite struct MetricsTextTests {
  /// A mount that has everything: each counter and gauge with a number of its own.
  static func busy() -> StatsReport {
    var engine = EngineUsage()
    engine.memoryBytes = 7
    engine.diskBytes = 8
    engine.estimatedHitRatio = 0.55
    engine.estimatedHitRatioAtDoubleSize = 1
    engine.network.ttfbSeconds = 0.02
    engine.network.bytesPerSecond = 9e7
    var report = statsReport(
      callers: (1...40).map { caller("p\($0 % 20)", pid: $0, bytes: UInt64($0)) }, engine: engine,
      store: StoreStatus(unreachableSeconds: 75, lastError: "GET secret/key: refused"),
      limits: StatsReport.Limits(memory: 1, metadata: 2, cache: 3, cacheReachable: 4),
      cache: "/nvme/cache", orders: [])
    for (index, name) in report.counters.keys.sorted().enumerated() {
      report.counters[name] = UInt64(1000 + index)
    }
    for (index, name) in report.gauges.keys.sorted().enumerated() {
      report.gauges[name] = Int64(5000 + index)
    }
    report.session = ["passthrough": "off: /nvme is on overlayfs", "mountPoint": "/mnt/data"]
    return report
  }

  private static func caller(_ name: String, pid: Int32, bytes: UInt64) -> CallerReport {
    var caller = CallerReport(pid: pid, name: name, seconds: 10)
    caller.bytesFromDisk = bytes
    caller.reads = 4
    caller.stalledSeconds = 0.5
    caller.waitSeconds = ["ttfb": 1.5, "listing": 0.25]
    caller.readWaitSeconds = 1.5
    caller.latencyBuckets = [0, 0, 0, 2, 1] + [UInt64](repeating: 0, count: 20) + [1]
    return caller
  }

  /// The lines of a metric, without its head.
  private func lines(_ name: String, _ text: String) -> [String] {
    text.split(separator: "\n").map(String.init).filter {
      $0.hasPrefix("millrace_\(name)") && ["{", " "].contains($0.dropFirst(9 + name.count).first)
    }
  }

  @Test func everyCounterAndGaugeHasAName() {
    let report = statsReport()
    let shown = MetricTable.all.flatMap(\.fields)
    let counted = Set(report.counters.keys).union(report.gauges.keys)
    #expect(counted.count > 60)
    #expect(counted.subtracting(shown).sorted() == [], "add them to MetricTable")
    #expect(Set(shown).subtracting(counted).sorted() == [], "they are not in Metrics")
    #expect(Set(shown).count == shown.count)
  }

  @Test func namesSayTheirUnitAndKind() {
    let all = MetricTable.all + MetricTable.ofExporter
    #expect(Set(all.map(\.name)).count == all.count)
    for metric in all {
      #expect(metric.name.hasPrefix("millrace_"))
      #expect((metric.kind == .counter) == metric.name.hasSuffix("_total"), "\(metric.name)")
      #expect(metric.help.last == "." && !metric.help.contains("\n"), "\(metric.name)")
    }
  }

  @Test func eachNumberStandsUnderItsName() {
    let report = Self.busy()
    let text = metricsText(report, byName: true)
    let requests = ["GET": "getRequests", "LIST": "listRequests", "HEAD": "headRequests"]
    #expect(
      Set(lines("store_requests_total", text))
        == Set(
          requests.map { method, name in
            "millrace_store_requests_total{method=\"\(method)\"} \(report.counters["store." + name]!)"
          }))
    #expect(
      lines("read_failures_total", text)
        == ["millrace_read_failures_total \(report.counters["reads.failures"]!)"])
    #expect(
      lines("cache_bytes", text)
        == [#"millrace_cache_bytes{tier="memory"} 7"#, #"millrace_cache_bytes{tier="disk"} 8"#])
    #expect(
      lines("epoch_hit_ratio", text)
        == [
          #"millrace_epoch_hit_ratio{cache="1x"} 0.55"#,
          #"millrace_epoch_hit_ratio{cache="2x"} 1.0"#,
        ])
    #expect(
      lines("wait_seconds_total", text).contains(#"millrace_wait_seconds_total{cause="ttfb"} 60.0"#)
    )
    #expect(lines("stalled_seconds_total", text) == ["millrace_stalled_seconds_total 20.0"])
    #expect(lines("build_info", text) == [#"millrace_build_info{version="1"} 1"#])
  }

  @Test func theHistogramOfReadsIsCumulative() {
    let text = metricsText(Self.busy())
    let buckets = lines("read_seconds_bucket", text)
    #expect(buckets.first == #"millrace_read_seconds_bucket{le="8e-06"} 80"#)
    #expect(buckets.dropFirst().first == #"millrace_read_seconds_bucket{le="1.6e-05"} 120"#)
    #expect(buckets.last == #"millrace_read_seconds_bucket{le="+Inf"} 160"#)
    #expect(lines("read_seconds_count", text) == ["millrace_read_seconds_count 160"])
    #expect(lines("read_seconds_sum", text) == ["millrace_read_seconds_sum 60.0"])
  }

  @Test func processesHaveARowForEachName() {
    let text = metricsText(Self.busy(), byName: true)
    let rows = lines("process_read_bytes_total", text)
    #expect(rows.count == 20)
    // 20 and 40 have one name.
    #expect(rows.contains(#"millrace_process_read_bytes_total{process="p0"} 60"#))
    #expect(lines("process_opens_total", metricsText(Self.busy())) == [])
  }

  @Test func labelsAreEscaped() {
    let name = "a\"b\\c\nd\u{1b}[31m"
    let report = statsReport(callers: [Self.caller(name, pid: 1, bytes: 1)])
    let text = metricsText(report, byName: true)
    #expect(
      lines("process_read_bytes_total", text)
        == ["millrace_process_read_bytes_total{process=\"a\\\"b\\\\c\\nd\u{FFFD}[31m\"} 1"])
  }

  /// What every user who may read the mount may read.
  @Test func theMountsOwnFilesNameNoProcessAndNoPath() throws {
    let report = Self.busy()
    let texts = [
      metricsText(report),
      String(decoding: try report.withoutProcessesAndPaths.json(), as: UTF8.self),
    ]
    for text in texts {
      for secret in ["\"p1\"", "process=", "/nvme", "/mnt/data", "\"/s\"", "secret", ": refused"] {
        #expect(!text.contains(secret), "\(secret): \(text)")
      }
    }
    #expect(texts[1].contains("\"s3://b\"") && texts[1].contains("\"(all)\""))
    // The numbers stay.
    let sum = report.withoutProcessesAndPaths
    #expect(sum.counters == report.counters && sum.callers.first?.bytesFromDisk == 820)
  }

  @Test(.enabled(if: requireOrSkip(.program("promtool"))))
  func promtoolFindsNothingToComplainOf() throws {
    var metrics = MergedMetrics()
    let up = [Self.busy(), statsReport()].enumerated().map { index, report in
      let labels = [(name: "mountpoint", value: "/\(index)")]
      let text = Array(metricsText(report, byName: true).utf8)
      return (labels: labels, isUp: metrics.add(text, labels))
    }
    #expect(up.allSatisfy { $0.isUp })
    let text =
      MetricsText.text(ofMountsUp: up, omitted: 1) + String(decoding: metrics.text, as: UTF8.self)
    let result = try CommandResult.run(["promtool", "check", "metrics"], input: text)
    #expect(result.succeeded && result.errors.isEmpty, "\(result)")
    // It does find what is wrong.
    let wrong = try CommandResult.run(
      ["promtool", "check", "metrics"], input: text.replacing("# HELP millrace_epoch ", with: "# "))
    #expect(!wrong.succeeded && wrong.errors.contains("millrace_epoch"), "\(wrong)")
  }

  // MARK: Documentation and deployment

  @Test func thePageOfMetricsIsTheTable() throws {
    let page = try readText(Checkout.root + "/docs/metrics.md")
    let rows = page.split(separator: "\n").map(String.init).filter { $0.hasPrefix("| `millrace_") }
    let wanted = (MetricTable.ofExporter + MetricTable.all).map { metric in
      let labels = metric.labels.map { "`\($0)`" }.joined(separator: ", ")
      return "| `\(metric.name)` | \(metric.kind.rawValue) | \(labels) | \(metric.help) |"
    }
    #expect(Set(rows).count == rows.count)
    for row in wanted where !rows.contains(row) { Issue.record("docs/metrics.md lacks: \(row)") }
    for row in rows where !wanted.contains(row) { Issue.record("no such metric: \(row)") }
  }

  /// Names that the dashboard and the alerts use are metrics of the table.
  @Test func dashboardAndAlertsUseMetricsThatExist() throws {
    let names = Set((MetricTable.all + MetricTable.ofExporter).map(\.name))
    for file in ["grafana-millrace.json", "prometheus-alerts.yml"] {
      let text = try readText(Checkout.root + "/docs/deploy/" + file)
      let used = Set(text.matches(of: /millrace_[a-z_]+/).map { String($0.output) })
      #expect(used.count > 4, "\(file)")
      for name in used.sorted() {
        let base = ["_bucket", "_sum", "_count"].reduce(name) {
          $0.hasSuffix($1) ? String($0.dropLast($1.count)) : $0
        }
        #expect(names.contains(name) || names.contains(base), "\(file): \(name)")
      }
    }
  }

  @Test(.enabled(if: requireOrSkip(.program("promtool"))))
  func promtoolAcceptsTheAlerts() throws {
    let rules = Checkout.root + "/docs/deploy/prometheus-alerts.yml"
    let result = try CommandResult.run(["promtool", "check", "rules", rules])
    #expect(result.succeeded && result.output.contains("SUCCESS"), "\(result)")
  }
}

/// The text of a report, whose callers are all that there ever were. `byName`: with the metrics that name processes.
func metricsText(_ report: StatsReport, byName: Bool = false) -> String {
  var all = CallerReport(pid: 0, name: "(all)", seconds: 0)
  var names: [String: CallerReport] = [:]
  for caller in report.callers {
    all.add(caller)
    if names[caller.name]?.add(caller) == nil { names[caller.name] = caller }
  }
  let sorted = names.values.sorted { $0.name < $1.name }
  return MetricsText.text(of: report, ProcessTotals(all: all, byName: byName ? sorted : []))
}
