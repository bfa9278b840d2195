import Glibc
import TestSupport

/// The table of training: how busy the accelerator was, what the loop waited, what the store gave.
enum TrainingReport {
  static func write(_ results: TrainingResults, to folder: String) throws {
    mkdir(folder, 0o755)
    try writeFile(folder + "/training.md", (markdown(results) + "\n").utf8)
    try writeFile(folder + "/training.json", json(results).utf8)
  }

  static func markdown(_ results: TrainingResults) -> String {
    let kinds = results.kinds
    var lines: [String] = []
    for shape in TrainingShape.allCases {
      let rows = results.ordered.filter { $0.shape == shape }
      if rows.isEmpty { continue }
      lines += ["| \(shape.explanation) | " + kinds.map(\.rawValue).joined(separator: " | ") + " |"]
      lines += ["|---|" + kinds.map { _ in "---:|" }.joined()]
      for row in rows {
        let cells = kinds.map { cell(results, row, $0) }
        lines.append("| \(row.phase.rawValue) | " + cells.joined(separator: " | ") + " |")
      }
      lines.append("")
    }
    for kind in kinds {
      guard let costs = results.fillCosts[kind], let alone = median(costs.map(\.alone)),
        let ratio = median(costs.map { $0.during / $0.alone })
      else { continue }
      lines += [
        "\(kind.rawValue): a reader of scattered 128 KiB, one after the other, waits \(rounded(alone * 1000)) ms "
          + "alone and \(hundredths(ratio)) x that while the files are filled.", "",
      ]
    }
    return (lines + [foot(results)]).joined(separator: "\n")
  }

  /// "0.86 (0.84 to 0.87), 0.04 waiting, 1.00 x"
  static func cell(
    _ results: TrainingResults, _ line: TrainingResults.Line, _ kind: SystemKind
  ) -> String {
    guard let epochs = results.values[line]?[kind], !epochs.isEmpty else { return "-" }
    let busy = epochs.map { results.busy(line, $0.loop) }
    var text = hundredths(median(busy) ?? 0)
    if busy.count > 1 { text += " (\(hundredths(busy.min()!)) to \(hundredths(busy.max()!)))" }
    text += ", \(hundredths(median(epochs.map { results.waiting(line, $0.loop) }) ?? 0)) waiting"
    if kind != .plain { text += ", \(hundredths(median(epochs.map(\.fetched)) ?? 0)) x" }
    return text
  }

  private static func foot(_ results: TrainingResults) -> String {
    let conditions = results.conditions
    let held =
      results.isCaged
      ? "page cache of loop and daemon held to \(PageCacheCage.size >> 20) MiB by a cgroup"
      : "page cache not held: no memory cgroup could be made"
    return
      "Share of the time that the accelerator (a sleep) was busy, median of \(conditions.repeats) (least to "
      + "most); share that the loop waited for data; bytes from the store to the size of the data set. The loops of "
      + "110 KB files count from the start of the mount, the others as MLPerf Storage does, without the first step; "
      + "none is an MLPerf result. \(Trainer.workers) workers, \(held), s3 link (20 ms, 90 MB/s a connection). "
      + "Store, mounts and loop on the same \(sysconf(CInt(_SC_NPROCESSORS_ONLN))) cores; "
      + conditions.versions.map { "\($0.0) \($0.1)" }.joined(separator: "; ") + "."
  }

  static func json(_ results: TrainingResults) -> String {
    let lines = results.ordered.map { line in
      let kinds = results.kinds.compactMap { kind -> String? in
        guard let epochs = results.values[line]?[kind] else { return nil }
        let values = epochs.map { epoch in
          "{\"seconds\": \(epoch.loop.seconds), \"busy\": \(epoch.loop.busy), "
            + "\"waiting\": \(epoch.loop.waiting), \"utilisation\": \(epoch.loop.utilisation), "
            + "\"laterWaiting\": \(epoch.loop.laterWaiting), \"fetched\": \(epoch.fetched), "
            + "\"pageCache\": \(epoch.pageCache)}"
        }
        return "\"\(kind.rawValue)\": [\(values.joined(separator: ", "))]"
      }
      return "  {\"loop\": \"\(line.shape.rawValue)\", \"phase\": \"\(line.phase.rawValue)\",\n   "
        + kinds.joined(separator: ",\n   ") + "}"
    }
    return "[\n" + lines.joined(separator: ",\n") + "\n]\n"
  }
}
