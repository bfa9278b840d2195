import ArgumentParser
import Glibc
import TestSupport

/// `make bench-training`: loops as PyTorch runs them, with a sleep as accelerator, over the s3 link.
struct TrainingBench: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "training", abstract: "Training loops with a sleep as accelerator.")

  @Option(
    help: "Comma-separated: \(TrainingShape.allCases.map(\.rawValue).joined(separator: ", ")).")
  var shapes = ""
  @Option(help: "Comma-separated names, or part of them; plain is always there.") var systems = ""
  @Option(help: "Repetitions, of which medians are taken.") var `repeat` = 1
  @Flag(help: "A few files: to see that it works.") var quick = false
  @Flag(help: "What can be measured.") var list = false

  func run() throws {
    if list {
      for shape in TrainingShape.allCases { say("\(shape.rawValue): \(shape.explanation)") }
      return
    }
    Interruption.watch()
    guard requireOrSkip(.fuse) else { throw ExitCode(1) }
    guard geteuid() == 0 else {
      throw ValidationError("run it as root: it makes a cgroup and empties the page cache")
    }
    var cage: PageCacheCage?
    do { cage = try PageCacheCage() } catch { say("\(error)") }
    defer { cage?.end() }
    var kinds = chosen(SystemKind.allCases.filter { $0 != .ordinary }, systems)
    if !kinds.contains(.plain) { kinds.insert(.plain, at: 0) }
    for kind in kinds {
      if let missing = kind.missing { say("\(kind.rawValue) is left out: \(missing)") }
    }
    var results = TrainingResults(
      conditions: Conditions(
        repeats: `repeat`, versions: Stage.versions(kinds.filter { $0.missing == nil })),
      isCaged: cage != nil)
    for shape in chosen(TrainingShape.allCases, shapes) {
      say("\(shape.rawValue): \(shape.explanation)")
      let stage = try TrainingStage(shape, kinds: kinds, cage: cage, isQuick: quick)
      defer { stage.end() }
      for round in 1...`repeat` {
        try stage.measure(round: round, into: &results)
        try TrainingReport.write(results, to: Checkout.buildFolder + "/bench")
      }
    }
    say("\n" + TrainingReport.markdown(results))
    say("in .build/bench: training.md, training.json")
  }
}
