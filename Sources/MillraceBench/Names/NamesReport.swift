import Glibc
import TestSupport

/// The table of names: seconds and the store's requests in one cell.
enum NamesReport {
  static func write(_ results: Results, to folder: String) throws {
    mkdir(folder, 0o755)
    try writeFile(folder + "/names.md", (markdown(results) + "\n").utf8)
    try writeFile(folder + "/names.json", Report.json(results).utf8)
  }

  static func markdown(_ results: Results) -> String {
    let kinds = SystemKind.allCases.filter { kind in
      results.measures.contains { results.median($0, kind) != nil }
    }
    var lines = ["| | bare listing | " + kinds.map(\.rawValue).joined(separator: " | ") + " |"]
    lines.append("|---|---:|" + kinds.map { _ in "---:|" }.joined())
    for measure in results.measures {
      let cells = kinds.map { cell(results, measure, $0) }
      lines.append(
        "| \(measure.name), \(measure.unit) | \(bound(results, measure)) | "
          + cells.joined(separator: " | ") + " |")
    }
    lines += ["", foot(results)]
    return lines.joined(separator: "\n")
  }

  private static func bound(_ results: Results, _ measure: Measure) -> String {
    guard let bound = results.bounds[measure], let value = median(bound.values) else { return "" }
    return "\(hundredths(value)) (\(bound.name))"
  }

  private static func cell(_ results: Results, _ measure: Measure, _ kind: SystemKind) -> String {
    guard let series = results.series[measure]?[kind], let value = median(series.values) else {
      return "-"
    }
    var text = figure(value, measure)
    if series.values.count > 1 {
      text +=
        " (\(figure(series.values.min()!, measure)) to \(figure(series.values.max()!, measure)))"
    }
    if kind != .plain, measure.unit == "s", let ratio = results.ratio(measure, kind) {
      text += ", x \(hundredths(ratio))"
    }
    var parts = [text]
    if kind != .plain { parts.append("\(requests(series.usages)) req") }
    return (parts + series.notes).joined(separator: ", ")
  }

  private static func requests(_ usages: [Usage]) -> String {
    grouped(Int(median(usages.map { Double($0.requests) }) ?? 0))
  }

  /// Seconds to the thousandth below one: a second listing takes twenty of them.
  private static func figure(_ value: Double, _ measure: Measure) -> String {
    guard measure.unit == "s" else { return "\(Int(value.rounded()))" }
    guard value < 1 else { return hundredths(value) }
    let thousandths = Int((value * 1000).rounded())
    guard thousandths < 1000 else { return hundredths(value) }
    let digits = String(thousandths)
    return "0." + String(repeating: "0", count: max(0, 3 - digits.count)) + digits
  }

  private static func foot(_ results: Results) -> String {
    let conditions = results.conditions
    return
      "Median of \(conditions.repeats) (least to most), requests of the store; x: ratio to the bare "
      + "listing of the same server (nothing is read of a page but the next one's token), else to the plain "
      + "directory. Store, mounts and readers on the same \(sysconf(CInt(_SC_NPROCESSORS_ONLN))) cores; "
      + conditions.versions.map { "\($0.0) \($0.1)" }.joined(separator: "; ") + "."
  }
}
