import TestSupport

/// What is measured: a line of the table.
enum Measure: String, CaseIterable {
  case sequentialCold = "sequential, cold"
  case sequentialWarm = "sequential, from disk"
  case sequentialHot = "sequential, hot"
  case smallCold = "small files, cold"
  case smallWarm = "small files, from disk"
  case smallHot = "small files, hot"

  var unit: String {
    switch self {
    case .sequentialCold, .sequentialWarm, .sequentialHot: "MB/s"
    case .smallCold, .smallWarm, .smallHot: "files/s"
    }
  }
}

/// Every value of every repetition, and the table of their medians.
struct Results {
  private var values: [String: [Measure: [Double]]] = [:]

  mutating func add(_ value: Double, _ measure: Measure, of system: String) {
    values[system, default: [:]][measure, default: []].append(value)
  }

  private func sorted(_ system: String, _ measure: Measure) -> [Double] {
    (values[system]?[measure] ?? []).sorted()
  }

  func median(_ system: String, _ measure: Measure) -> Double? {
    let all = sorted(system, measure)
    guard !all.isEmpty else { return nil }
    return all.count % 2 == 1
      ? all[all.count / 2] : (all[all.count / 2 - 1] + all[all.count / 2]) / 2
  }

  /// Medians with (least to most), and the ratio to the first system.
  func markdown(_ systems: [String]) -> String {
    var lines = ["| | " + systems.joined(separator: " | ") + " |"]
    lines.append("|---|" + systems.map { _ in "---:|" }.joined())
    for measure in Measure.allCases {
      let cells = systems.map { cell($0, measure, bound: systems[0]) }
      lines.append(
        "| \(measure.rawValue), \(measure.unit) | " + cells.joined(separator: " | ") + " |")
    }
    return lines.joined(separator: "\n")
  }

  private func cell(_ system: String, _ measure: Measure, bound: String) -> String {
    let all = sorted(system, measure)
    guard let median = median(system, measure), let least = all.first, let most = all.last else {
      return "-"
    }
    let text = "\(rounded(median)) (\(rounded(least)) to \(rounded(most)))"
    guard system != bound, let plain = self.median(bound, measure), plain > 0 else { return text }
    return text + ", x \(hundredths(median / plain))"
  }

  func json(_ systems: [String], about: [(String, String)]) -> String {
    var parts = about.map { "  \"\($0.0)\": \"\($0.1)\"" }
    for system in systems {
      let inner = Measure.allCases.map { measure in
        let list = (values[system]?[measure] ?? []).map { "\($0)" }.joined(separator: ", ")
        return "    \"\(measure.rawValue), \(measure.unit)\": [\(list)]"
      }
      parts.append("  \"\(system)\": {\n\(inner.joined(separator: ",\n"))\n  }")
    }
    return "{\n" + parts.joined(separator: ",\n") + "\n}\n"
  }

  private func rounded(_ value: Double) -> String { "\(Int(value.rounded()))" }

  private func hundredths(_ value: Double) -> String {
    let number = Int((value * 100).rounded())
    let rest = number % 100
    return "\(number / 100).\(rest < 10 ? "0" : "")\(rest)"
  }
}
