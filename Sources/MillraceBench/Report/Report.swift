import Glibc
import TestSupport

/// The results as Markdown, JSON and a picture.
enum Report {
  static func write(_ results: Results, to folder: String) throws {
    mkdir(folder, 0o755)
    try writeFile(folder + "/table.md", (markdown(results) + "\n").utf8)
    try writeFile(folder + "/results.json", json(results).utf8)
    try writeFile(folder + "/plot.svg", Plot.svg(results).utf8)
  }

  static func markdown(_ results: Results) -> String {
    let kinds = SystemKind.allCases.filter { kind in
      results.measures.contains { results.median($0, kind) != nil }
    }
    var lines = ["| | bound | " + kinds.map(\.rawValue).joined(separator: " | ") + " |"]
    lines.append("|---|---:|" + kinds.map { _ in "---:|" }.joined())
    for measure in results.measures {
      let cells = kinds.map { cell(results, measure, $0) }
      lines.append(
        "| \(measure.name), \(measure.unit) | \(bound(results, measure)) | "
          + cells.joined(separator: " | ") + " |")
    }
    lines += [
      "", "CPU seconds of the daemon, its peak memory, requests, MB fetched and connections:", "",
    ]
    let daemons = kinds.filter { $0 != .plain }
    lines.append("| | " + daemons.map(\.rawValue).joined(separator: " | ") + " |")
    lines.append("|---|" + daemons.map { _ in "---:|" }.joined())
    for measure in results.measures where !measure.isWait {
      let cells = daemons.map { cost(results, measure, $0) }
      lines.append("| \(measure.name) | " + cells.joined(separator: " | ") + " |")
    }
    lines += ["", foot(results, kinds)]
    return lines.joined(separator: "\n")
  }

  private static func bound(_ results: Results, _ measure: Measure) -> String {
    guard let bound = results.bounds[measure], let value = median(bound.values) else { return "" }
    return "\(rounded(value)) (\(bound.name))"
  }

  private static func cell(_ results: Results, _ measure: Measure, _ kind: SystemKind) -> String {
    guard let series = results.series[measure]?[kind], let value = median(series.values) else {
      return "-"
    }
    var text = rounded(value)
    if series.values.count > 1 {
      text += " (\(rounded(series.values.min()!)) to \(rounded(series.values.max()!)))"
    }
    if kind != .plain || results.bounds[measure] != nil, let ratio = results.ratio(measure, kind) {
      text += ", x \(hundredths(ratio))"
    }
    return ([text] + series.notes).joined(separator: ", ")
  }

  private static func cost(_ results: Results, _ measure: Measure, _ kind: SystemKind) -> String {
    guard let usages = results.series[measure]?[kind]?.usages, !usages.isEmpty else { return "-" }
    func middle(_ value: (Usage) -> Double) -> Double { median(usages.map(value)) ?? 0 }
    let parts = [
      "\(hundredths(middle(\.cpuSeconds))) s",
      "\(Int(middle { Double($0.peakResident) / 1_048_576 }.rounded())) MiB",
      "\(Int(middle { Double($0.requests) })) req",
      "\(Int((middle { Double($0.bytesFetched) / 1e6 }).rounded())) MB",
      "\(Int(middle { Double($0.connections) })) conn",
    ]
    return parts.joined(separator: ", ")
  }

  private static func foot(_ results: Results, _ kinds: [SystemKind]) -> String {
    let conditions = results.conditions
    var lines = [
      "Median of \(conditions.repeats) (least to most); x: ratio to the bound, else to the plain directory. Store, "
        + "mounts and readers on the same \(sysconf(CInt(_SC_NPROCESSORS_ONLN))) cores; "
        + conditions.versions.map { "\($0.0) \($0.1)" }.joined(separator: "; ") + ".", "",
    ]
    lines += kinds.map { "- \($0.rawValue): \($0.remark)" }
    return lines.joined(separator: "\n")
  }

  static func json(_ results: Results) -> String {
    func quoted(_ text: String) -> String {
      "\"" + text.flatMap { $0 == "\"" || $0 == "\\" ? "\\\($0)" : "\($0)" } + "\""
    }
    var parts = results.conditions.versions.map { "  \(quoted($0.0)): \(quoted($0.1))" }
    let measures = results.measures.map { measure in
      var fields = ["\"measure\": \(quoted(measure.name))", "\"unit\": \(quoted(measure.unit))"]
      if let bound = results.bounds[measure] {
        fields.append("\"bound\": {\"name\": \(quoted(bound.name)), \"values\": \(bound.values)}")
      }
      for kind in SystemKind.allCases {
        guard let series = results.series[measure]?[kind] else { continue }
        let usages = series.usages.map { usage in
          "{\"cpuSeconds\": \(usage.cpuSeconds), \"peakResident\": \(usage.peakResident), "
            + "\"requests\": \(usage.requests), \"bytesFetched\": \(usage.bytesFetched), "
            + "\"connections\": \(usage.connections)}"
        }
        fields.append(
          "\(quoted(kind.rawValue)): {\"values\": \(series.values), \"notes\": ["
            + series.notes.map(quoted).joined(separator: ", ") + "], \"usage\": ["
            + usages.joined(separator: ", ") + "]}")
      }
      return "    {" + fields.joined(separator: ",\n     ") + "}"
    }
    parts.append("  \"results\": [\n" + measures.joined(separator: ",\n") + "\n  ]")
    return "{\n" + parts.joined(separator: ",\n") + "\n}\n"
  }
}
