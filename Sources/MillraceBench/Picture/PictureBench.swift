import ArgumentParser
import Glibc
import TestSupport

/// `make bench ARGS=picture`: what the README's picture shows, measured in one run.
struct PictureBench: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "picture",
    abstract: "The README's picture: two epochs, small files, names; 15 minutes.")

  @Option(help: "Comma-separated names, or part of them; plain is always there.") var systems = ""
  @Option(help: "Repetitions, of which medians are taken.") var `repeat` = 3
  @Flag(help: "One repetition of small sizes: to see that it works.") var quick = false

  func run() throws {
    Interruption.watch()
    guard requireOrSkip(.fuse) else { throw ExitCode(1) }
    guard geteuid() == 0 else {
      throw ValidationError("run it as root: it makes a cgroup and empties the page cache")
    }
    let all: [SystemKind] = [.plain, .millrace, .s3fs, .rclone, .juicefs]
    var kinds = chosen(all, systems)
    if !kinds.contains(.plain) { kinds.insert(.plain, at: 0) }
    let rounds = quick ? 1 : `repeat`
    let training = try epochs(kinds, rounds)
    let small = try smallFiles(kinds, rounds)
    let names = try findings(kinds, rounds)
    let picture = Picture(training: training, small: small, names: names)
    let folder = Checkout.buildFolder + "/bench"
    mkdir(folder, 0o755)
    try writeFile(folder + "/picture.svg", picture.svg.utf8)
    try writeFile(folder + "/picture.md", (picture.markdown + "\n").utf8)
    say("\n" + picture.markdown)
    say("in .build/bench: picture.svg, picture.md")
  }

  private func epochs(_ kinds: [SystemKind], _ rounds: Int) throws -> TrainingResults {
    var cage: PageCacheCage?
    do { cage = try PageCacheCage() } catch { say("\(error)") }
    defer { cage?.end() }
    let stage = try TrainingStage(.files, kinds: kinds, cage: cage, isQuick: quick)
    defer { stage.end() }
    var results = TrainingResults(
      conditions: Conditions(repeats: rounds, versions: []), isCaged: cage != nil)
    for round in 1...rounds { try stage.measureTwoEpochs(round: round, into: &results) }
    return results
  }

  private func smallFiles(_ kinds: [SystemKind], _ rounds: Int) throws -> Results {
    let sizes = Sizes(
      large: 1 << 20, files: quick ? 200 : 2000, big: 1 << 20, scattered: 1 << 20, shared: 1 << 20,
      scatteredReads: 0, randomReads: 0, firstBytes: 0)
    let stage = try Stage(sizes: sizes, kinds: kinds)
    defer { stage.end() }
    var results = Results(conditions: Conditions(repeats: rounds, versions: stage.versions))
    for round in 1...rounds {
      try WorkMeasures(stage: stage).measure(.small, over: "loopback", round: round, into: &results)
    }
    return results
  }

  /// The first `find` of a tree whose store takes 20 ms for each request: medians.
  private func findings(
    _ kinds: [SystemKind], _ rounds: Int
  ) throws -> [(kind: SystemKind, objects: Int, seconds: Double)] {
    var sizes = quick ? NamesSizes.quick : NamesSizes()
    // Its files are made one by one, and not looked at here.
    sizes.flat.files = 1
    let stage = try NamesStage(sizes: sizes, kinds: kinds)
    defer { stage.end() }
    var results = Results(conditions: Conditions(repeats: rounds, versions: []))
    for round in 1...rounds { try stage.measureFirstFinds(round: round, into: &results) }
    return stage.firstFinds(results)
  }
}
