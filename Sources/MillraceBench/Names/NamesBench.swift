import Glibc
import TestSupport

/// `--work names`: how long a tree takes to open, how often the store is asked for it, and what a name
/// costs in memory. A group of its own with a table of its own: seconds and requests beside each other.
struct NamesBench {
  static let explanation =
    "trees of 20,000 to 5,000,000 names: find and ls, requests, memory a name; only when asked for"

  let kinds: [SystemKind]
  let repeats: Int
  let isQuick: Bool

  func run() throws {
    let stage = try NamesStage(sizes: isQuick ? .quick : NamesSizes(), kinds: kinds)
    defer { stage.end() }
    var results = Results(conditions: Conditions(repeats: repeats, versions: stage.versions))
    for round in 1...repeats {
      try stage.measure(round: round, into: &results)
      try NamesReport.write(results, to: Checkout.buildFolder + "/bench")
    }
    say("\n" + NamesReport.markdown(results))
    say("in .build/bench: names.md, names.json")
  }
}
