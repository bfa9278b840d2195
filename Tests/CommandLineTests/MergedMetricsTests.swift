import Metrics
import Posix
import TestSupport
import Testing

@testable import Control

/// Texts of several daemons as one.
@Suite struct MergedMetricsTests {
  private static let labels = [(name: "mountpoint", value: "/a")]

  private func merged(_ text: String) -> String? {
    var metrics = MergedMetrics()
    return metrics.add(Array(text.utf8), Self.labels)
      ? String(decoding: metrics.text, as: UTF8.self) : nil
  }

  private func lines(_ text: String) -> [String]? {
    merged(text)?.split(separator: "\n").map(String.init).filter { !$0.hasPrefix("#") }
  }

  @Test func severalMountsShareTheirHeads() throws {
    var metrics = MergedMetrics()
    let (one, other) = (MetricsTextTests.busy(), statsReport())
    let isOne = metrics.add(Array(metricsText(one, byName: true).utf8), Self.labels)
    let isOther = metrics.add(
      Array(metricsText(other).utf8), [(name: "mountpoint", value: "/b")])
    #expect(isOne && isOther)
    let all = String(decoding: metrics.text, as: UTF8.self).split(separator: "\n").map(String.init)
    #expect(all.filter { $0 == "# TYPE millrace_read_failures_total counter" }.count == 1)
    let at = try #require(all.firstIndex(of: "# TYPE millrace_read_failures_total counter"))
    #expect(
      Array(all[(at + 1)...(at + 2)]) == [
        "millrace_read_failures_total{mountpoint=\"/a\"} \(one.counters["reads.failures"]!)",
        #"millrace_read_failures_total{mountpoint="/b"} 0"#,
      ])
    #expect(all.contains(#"millrace_cache_bytes{mountpoint="/a",tier="disk"} 8"#))
    // Each line of each text is there.
    let count = [metricsText(one, byName: true), metricsText(other)].reduce(0) { sum, text in
      sum + text.split(separator: "\n").filter { !$0.hasPrefix("#") }.count
    }
    #expect(all.filter { !$0.hasPrefix("#") }.count == count)
  }

  @Test func onlyMetricsOfThisProgramAreTaken() {
    #expect(
      lines("node_load1 3\nmillrace_inodes 7\nmillrace_of_tomorrow{a=\"b\"} 1\n")
        == [#"millrace_inodes{mountpoint="/a"} 7"#])
    #expect(lines("# HELP evil x\n# TYPE evil counter\n") == [])
    #expect(merged("# HELP millrace_inodes lies\nmillrace_inodes 7\n")?.contains("lies") == false)
  }

  @Test func aTextThatIsWrongIsRefusedAsAWhole() {
    let tier = "millrace_cache_bytes{tier="
    let wrong = [
      "millrace_inodes", "millrace_inodes ", "millrace_inodes seven", "millrace_inodes 7 8",
      "millrace_inodes 1e400", "millrace_inodes -9e999",
      "millrace_inodes 7\r", "millrace_inodes{} 7", "millrace_inodes{mountpoint=\"/b\"} 7",
      "millrace_inodes{a=\"b\" 7", "foo bar", "{a=\"b\"} 7", " millrace_inodes 7",
      tier + "disk} 8", tier + "\"disk\"", tier + "\"di\"sk\"} 8", tier + "\"\\x\"} 8",
      tier + "\"a\u{1}\"} 8", tier + "\"a\"}8", tier + "\"a\",tier=\"b\"} 8",
      tier + "\"a\",other=\"b\"} 8", tier + "\"\(String(repeating: "x", count: 5000))\"} 8",
      "millrace_read_seconds_bucket 3",
      (0..<100).map { "millrace_process_opens_total{process=\"\($0)\"} 1" }.joined(separator: "\n"),
    ]
    for line in wrong {
      #expect(merged("millrace_uptime_seconds 1\n\(line)\n") == nil, "\(line)")
    }
    let invalid = Array(#"millrace_cache_bytes{tier=""#.utf8) + [0xff] + Array("\"} 8\n".utf8)
    for bytes in [[0xff, 10], invalid] {
      var metrics = MergedMetrics()
      let isTaken = metrics.add(Array("millrace_uptime_seconds 1\n".utf8) + bytes, Self.labels)
      #expect(!isTaken && metrics.text == [])
    }
    // Not of this form, though a name of ours: it is another metric.
    #expect(lines("millrace_read_seconds 3\n") == [])
  }

  /// Bytes at random, and texts with a byte of theirs replaced: each result is lines of this form.
  @Test func noBytesMakeALineOfAnotherForm() {
    let text = Array(metricsText(MetricsTextTests.busy(), byName: true).utf8)
    for seed in 0..<2_000 {
      var random = SeededGenerator(seed: UInt64(seed))
      var bytes = Array(text.prefix(2_000))
      for _ in 0..<3 {
        bytes[Int.random(in: 0..<bytes.count, using: &random)] = [
          UInt8.random(in: 0...255, using: &random), 10, 34, 92, 123, 125, 32,
        ].randomElement(using: &random)!
      }
      var metrics = MergedMetrics()
      guard metrics.add(bytes, Self.labels) else {
        #expect(metrics.text == [], "seed \(seed)")
        continue
      }
      let result = String(decoding: metrics.text, as: UTF8.self)
      #expect(Array(result.utf8) == metrics.text, "seed \(seed): not UTF-8")
      for line in result.split(separator: "\n") where !line.hasPrefix("#") {
        #expect(
          line.contains("{mountpoint=\"/a\"") && SampleLine(Array(line.utf8)[...]) != nil,
          "\(seed): \(line)")
      }
    }
  }
}
