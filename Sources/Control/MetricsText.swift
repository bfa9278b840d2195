public import Metrics

/// Reports of mounts as text for Prometheus, version 0.0.4:
/// https://prometheus.io/docs/instrumenting/exposition_formats/
public enum MetricsText {
  public static let contentType = "text/plain; version=0.0.4; charset=utf-8"

  /// The text of one mount; a metric that it has no value of is left out. What processes counted comes from `totals`
  /// and not from the report, whose sum decreases when processes end.
  public static func text(of report: StatsReport, _ totals: ProcessTotals) -> String {
    var text = ""
    var (summed, named) = (report, report)
    summed.callers = [totals.all]
    named.callers = totals.byName
    for metric in MetricTable.all {
      let samples = metric.samples(metric.namesProcesses ? named : summed)
      guard !samples.isEmpty else { continue }
      text += head(metric)
      for sample in samples { text += line(metric.name, sample, []) }
    }
    return text
  }

  /// Of an exporter: which mounts responded, and how many were not asked.
  static func text(
    ofMountsUp mounts: [(labels: [(name: String, value: String)], isUp: Bool)], omitted: Int
  ) -> String {
    let up = MetricTable.up
    let text = mounts.reduce(into: head(up)) { text, mount in
      text += line(up.name, MetricSample(mount.isUp ? 1 : 0), mount.labels)
    }
    let rest = MetricTable.omitted
    return text + head(rest) + line(rest.name, MetricSample(omitted), [])
  }

  static func head(_ metric: MetricDefinition) -> String {
    "# HELP \(metric.name) \(metric.help)\n# TYPE \(metric.name) \(metric.kind.rawValue)\n"
  }

  static func line(
    _ name: String, _ sample: MetricSample, _ labels: [(name: String, value: String)]
  ) -> String {
    let all = shown(labels + sample.labels)
    return name + sample.suffix + (all.isEmpty ? "" : "{\(all)}") + " \(sample.value)\n"
  }

  static func shown(_ labels: [(name: String, value: String)]) -> String {
    labels.map { "\($0.name)=\"\(escaped($0.value))\"" }.joined(separator: ",")
  }

  /// A label's value. Control characters, which a name of a process may have, are not for terminals.
  private static func escaped(_ value: String) -> String {
    var text = ""
    for scalar in value.unicodeScalars {
      switch scalar {
      case "\\": text += "\\\\"
      case "\"": text += "\\\""
      case "\n": text += "\\n"
      default:
        let isControl = scalar.properties.generalCategory == .control
        text.unicodeScalars.append(isControl ? "\u{FFFD}" : scalar)
      }
    }
    return text
  }
}
