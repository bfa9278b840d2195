import Glibc
import TestSupport

/// The table of hit ratios: one line a cache and policy, one column an epoch.
struct EvictionReport {
  struct Row {
    var kind: Trace.Kind
    /// Of the data, percent.
    var share: Int
    var policy: String
    var files: Int
    /// Medians over seeds, one an epoch.
    var found: [Double]
  }

  var rows: [Row] = []
  var seeds = 0

  func write(to folder: String) throws {
    mkdir(folder, 0o755)
    try writeFile(folder + "/eviction.md", (markdown + "\n").utf8)
    try writeFile(folder + "/eviction.json", json.utf8)
  }

  var markdown: String {
    var lines: [String] = []
    for kind in Trace.Kind.allCases {
      let rows = rows.filter { $0.kind == kind }
      guard let first = rows.first else { continue }
      lines.append("\n\(kind.rawValue), \(grouped(first.files)) files:\n")
      let epochs = first.found.indices.map { " \($0 + 1) |" }.joined()
      lines.append("| cache | policy |" + epochs)
      lines.append("|---:|---|" + first.found.map { _ in "---:|" }.joined())
      for row in rows {
        let cells = row.found.map { " \(hundredths(max(0, $0))) |" }.joined()
        lines.append("| \(row.share) % | \(row.policy) |" + cells)
      }
    }
    lines.append("")
    lines.append(
      "Share of each epoch's bytes that did not come from the store, simulated, "
        + "median of \(seeds) seeds. The bound of a shuffled epoch is the cache's share of the data; "
        + "MIN (Belady) knows every open to come.")
    return lines.joined(separator: "\n")
  }

  var json: String {
    let parts = rows.map { row in
      "  {\"trace\": \"\(row.kind.rawValue)\", \"cachePercent\": \(row.share), "
        + "\"policy\": \"\(row.policy)\", \"files\": \(row.files), \"found\": \(row.found)}"
    }
    return "[\n" + parts.joined(separator: ",\n") + "\n]\n"
  }
}
