import Metrics

/// One metric of the Prometheus text: its name, what it means, and where a `StatsReport` has it. All of them stand
/// in `MetricTable`.
public struct MetricDefinition: Sendable {
  public enum Kind: String, Sendable { case counter, gauge, histogram }

  /// With its unit, and `_total` for a counter: https://prometheus.io/docs/practices/naming/
  public let name: String
  public let kind: Kind
  /// One line.
  public let help: String
  /// Names of its labels.
  public let labels: [String]
  /// What it shows of `Metrics`, as `StatsReport.counters` and `.gauges` name it.
  public let fields: [String]
  /// Of a report whose `callers` are one row, their sum; of a metric with a row for each process name, those.
  let samples: @Sendable (StatsReport) -> [MetricSample]

  /// A row for each process name: not for readers of other users.
  public var namesProcesses: Bool { labels.contains("process") }

  /// A value that is computed from the report.
  init(
    _ kind: Kind, _ name: String, _ help: String, label: String? = nil, fields: [String] = [],
    samples: @escaping @Sendable (StatsReport) -> [MetricSample]
  ) {
    self.name = "millrace_" + name
    self.kind = kind
    self.help = help
    labels = label.map { [$0] } ?? []
    self.fields = fields
    self.samples = samples
  }

  /// One counter or gauge of `Metrics`.
  init(_ kind: Kind, _ name: String, _ help: String, _ field: String) {
    self.init(kind, name, help, fields: [field]) { report in
      [MetricSample(report.number(field))]
    }
  }

  /// Several counters or gauges of `Metrics`, distinguished by a label.
  init(
    _ kind: Kind, _ name: String, _ help: String, by label: String,
    _ fields: KeyValuePairs<String, String>
  ) {
    let pairs = fields.map { (value: $0.key, field: $0.value) }
    self.init(kind, name, help, label: label, fields: pairs.map(\.field)) { report in
      pairs.map { MetricSample(report.number($0.field), [(label, $0.value)]) }
    }
  }
}

/// A line of the text: `name{labels} value`.
struct MetricSample: Sendable {
  /// `_bucket`, `_sum` or `_count` of a histogram.
  var suffix = ""
  var labels: [(name: String, value: String)]
  var value: String

  init(_ value: some BinaryInteger, _ labels: [(String, String)] = [], suffix: String = "") {
    self.init(text: "\(value)", labels, suffix)
  }

  init(_ value: Double, _ labels: [(String, String)] = [], suffix: String = "") {
    self.init(text: value.isFinite ? "\(value)" : "NaN", labels, suffix)
  }

  private init(text: String, _ labels: [(String, String)], _ suffix: String) {
    value = text
    self.labels = labels.map { (name: $0.0, value: $0.1) }
    self.suffix = suffix
  }
}

extension StatsReport {
  /// Of a report whose `callers` are one row, their sum: that row.
  var sum: CallerReport { callers.first ?? CallerReport(pid: 0, name: "", seconds: 0) }

  /// A counter or gauge by its name, 0 where there is none.
  func number(_ field: String) -> Int64 {
    counters[field].map { Int64(clamping: $0) } ?? gauges[field] ?? 0
  }
}
