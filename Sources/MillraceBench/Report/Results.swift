/// What a measurement cost besides its time.
struct Usage: Sendable {
  /// Of the daemon.
  var cpuSeconds = 0.0
  var peakResident = 0
  /// Of the store.
  var requests = 0
  var bytesFetched = 0
  var connections = 0
}

struct Conditions: Sendable {
  var repeats: Int
  var versions: [(String, String)]
}

/// Every value of every repetition, in the order in which the measures came.
struct Results {
  struct Series {
    var values: [Double] = []
    var usages: [Usage] = []
    var notes: [String] = []
  }

  let conditions: Conditions
  private(set) var measures: [Measure] = []
  private(set) var series: [Measure: [SystemKind: Series]] = [:]
  private(set) var bounds: [Measure: (name: String, values: [Double])] = [:]

  init(conditions: Conditions) { self.conditions = conditions }

  mutating func add(
    _ measure: Measure, _ kind: SystemKind, _ value: Double, _ usage: Usage, note: String? = nil
  ) {
    notice(measure)
    var one = series[measure]![kind, default: Series()]
    one.values.append(value)
    one.usages.append(usage)
    if let note, !one.notes.contains(note) { one.notes.append(note) }
    series[measure]![kind] = one
  }

  /// What a system could reach at most, measured beside it.
  mutating func bound(_ measure: Measure, _ name: String, _ value: Double) {
    notice(measure)
    bounds[measure, default: (name, [])].values.append(value)
  }

  private mutating func notice(_ measure: Measure) {
    guard series[measure] == nil else { return }
    measures.append(measure)
    series[measure] = [:]
  }

  func median(_ measure: Measure, _ kind: SystemKind) -> Double? {
    series[measure]?[kind].flatMap { MillraceBench.median($0.values) }
  }

  /// What the line is compared with: its bound, else the plain folder.
  func reference(_ measure: Measure) -> (name: String, value: Double)? {
    if let bound = bounds[measure], let value = MillraceBench.median(bound.values) {
      return (bound.name, value)
    }
    return median(measure, .plain).map { ("plain directory", $0) }
  }

  /// How much of the reference a system reaches; for waits how many times as long it takes.
  func ratio(_ measure: Measure, _ kind: SystemKind) -> Double? {
    guard let value = median(measure, kind), let reference = reference(measure),
      reference.value > 0
    else { return nil }
    return value / reference.value
  }
}

func median(_ values: [Double]) -> Double? {
  let sorted = values.sorted()
  guard !sorted.isEmpty else { return nil }
  let middle = sorted.count / 2
  return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/// Zeros before it: "007".
func padded(_ number: Int, _ digits: Int) -> String {
  let text = String(number)
  return String(repeating: "0", count: digits - text.count) + text
}

func hundredths(_ value: Double) -> String {
  let number = Int((value * 100).rounded())
  return "\(number / 100).\(number % 100 < 10 ? "0" : "")\(number % 100)"
}

/// Three digits that count.
func rounded(_ value: Double) -> String {
  value >= 100
    ? "\(Int(value.rounded()))" : value >= 10 ? "\((value * 10).rounded() / 10)" : hundredths(value)
}
