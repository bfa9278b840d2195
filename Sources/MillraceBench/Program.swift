/// `make bench`: this mount beside the plain folder, s3fs, rclone and JuiceFS: one run, one store behind
/// three links, the systems taking turns. docs/performance.md says what is measured and how to read it.
import ArgumentParser
import Glibc
import TestSupport

@main
struct Program: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "make bench ARGS=\"...\" #",
    abstract: "Millrace beside other mounts: one run, one store, three links.",
    subcommands: [
      Bench.self, TrainingBench.self, ProgressBench.self, PictureBench.self, ReadCommand.self,
    ],
    defaultSubcommand: Bench.self)
}

struct Bench: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "run")

  @Option(help: "Comma-separated: loopback, s3, far.") var links = "loopback,s3,far"
  @Option(help: "Comma-separated names, or part of them; plain is always there.") var systems = ""
  @Option(help: "Comma-separated groups of work; names and eviction only run when they are named.")
  var work = ""
  @Option(help: "Repetitions, of which medians are taken.") var `repeat` = 3
  @Option(help: "The large file, MiB.") var mib = 512
  @Option(help: "Small files of 110 KB.") var files = 2000
  @Flag(help: "One repetition of small sizes: to see that it works.") var quick = false
  @Flag(help: "What can be measured, and by which systems.") var list = false

  func run() throws {
    if list {
      for item in Work.allCases { say("\(item.rawValue): \(item.explanation)") }
      say("\(Self.names): \(NamesBench.explanation)")
      say("\(Self.eviction): \(EvictionBench.explanation)")
      say("systems: \(SystemKind.allCases.map(\.rawValue).joined(separator: ", "))")
      return
    }
    let wanted = work.split(separator: ",").map(String.init)
    if wanted.contains(Self.eviction) {
      try EvictionBench(isQuick: quick).run()
      if wanted.count == 1 { return }
    }
    Interruption.watch()
    guard requireOrSkip(.fuse) else { throw ExitCode(1) }
    guard geteuid() == 0 else {
      throw ValidationError("run it as root: the page cache is emptied between measurements")
    }
    if wanted.contains(Self.names) {
      try NamesBench(
        kinds: chosen(SystemKind.allCases, systems), repeats: repeats, isQuick: quick
      ).run()
      if wanted.allSatisfy({ [Self.names, Self.eviction].contains($0) }) { return }
    }
    let sizes = Sizes(
      large: (quick ? 64 : mib) << 20, files: quick ? 200 : files,
      big: quick ? 256 << 20 : 2 << 30, scattered: quick ? 1 << 30 : 5 << 30,
      shared: quick ? 512 << 20 : 4 << 30, scatteredReads: quick ? 20 : 100,
      randomReads: quick ? 1000 : 8000, firstBytes: quick ? 50 : 200)
    let stage = try Stage(sizes: sizes, kinds: chosen(SystemKind.allCases, systems))
    defer { stage.end() }
    let measures = WorkMeasures(stage: stage)
    var results = Results(
      conditions: Conditions(repeats: repeats, versions: stage.versions))
    let lines = links.split(separator: ",").map(String.init)
    for round in 1...repeats {
      for link in lines {
        for item in chosen(Work.allCases, work) where item.links.contains(link) {
          try measures.measure(item, over: link, round: round, into: &results)
        }
      }
      try Report.write(results, to: Checkout.buildFolder + "/bench")
    }
    say("\n" + Report.markdown(results))
    say("in .build/bench: table.md, results.json, plot.svg")
  }

  private static let names = "names"
  private static let eviction = "eviction"

  private var repeats: Int { quick ? 1 : `repeat` }

}

/// Those that a comma-separated list names, or parts of their names; all where it is empty.
func chosen<Item: RawRepresentable<String>>(_ all: [Item], _ text: String) -> [Item] {
  let wanted = text.split(separator: ",")
  return wanted.isEmpty
    ? all : all.filter { item in wanted.contains { item.rawValue.contains($0) } }
}

/// What is read, bytes and counts.
struct Sizes: Sendable {
  var large: Int
  var files: Int
  var big: Int
  var scattered: Int
  var shared: Int
  var scatteredReads: Int
  var randomReads: Int
  var firstBytes: Int
}
