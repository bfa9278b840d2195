import ArgumentParser
import Glibc
import TestSupport

/// `make bench-progress`: two shuffled epochs by four readers, in caches and with memory of many sizes, with and
/// without an order. Shows what was fetched beside the least that the cache permits, and what an order costs or gains.
struct ProgressBench: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "progress", abstract: "Epochs in caches and memory of many sizes, with orders.")

  @Option(help: "Alternating runs with and without the order, of which medians are taken.")
  var `repeat` = 5
  @Option(help: "Of the link to the store: loopback, s3, far.") var link = "s3"
  @Option(help: "Only cells whose text has this in it; as --list shows them.") var only = ""
  @Flag(help: "All 144 cells and not only those that cover each pair of values.") var all = false
  @Flag(help: "The cells, without running them.") var list = false

  func run() throws {
    let cells = (all ? ProgressCell.all : ProgressCell.covering)
      .filter { only.isEmpty || "\($0)".contains(only) }
    if list {
      for cell in cells { say("\(cell)") }
      return
    }
    Interruption.watch()
    guard requireOrSkip(.fuse) else { throw ExitCode(1) }
    guard geteuid() == 0 else {
      throw ValidationError("run it as root: it empties the page cache")
    }
    var lines = [
      "| | fetched / least | speed / without | longest read, s | s |", "|---|---:|---:|---:|---:|",
    ]
    var isGood = true
    for cell in cells {
      let result = try measure(cell)
      isGood = isGood && result.isGood
      lines.append(result.line)
      say("\(result.isGood ? "good" : "BAD ") \(result.line)")
      mkdir(Checkout.buildFolder + "/bench", 0o755)
      try writeFile(
        Checkout.buildFolder + "/bench/progress.md", (lines.joined(separator: "\n") + "\n").utf8)
    }
    say("\n" + lines.joined(separator: "\n") + "\nin .build/bench: progress.md")
    if !isGood { throw ExitCode(1) }
  }

  private func measure(_ cell: ProgressCell) throws -> ProgressResult {
    let stage = try ProgressStage(cell, link: link)
    defer { stage.end() }
    var result = ProgressResult(cell: cell)
    for round in 1...max(1, `repeat`) {
      if cell.order != .none {
        result.without.append(try stage.run(.none, seed: UInt64(round)))
      }
      result.with.append(try stage.run(cell.order, seed: UInt64(round)))
    }
    return result
  }
}

/// What the runs of one cell reached.
struct ProgressResult {
  struct Run {
    var seconds: Double
    var fetched: Int
    /// Seconds from a read to its answer.
    var longestRead: Double
  }

  static let mostFetched = 1.05
  static let leastSpeed = 0.95

  let cell: ProgressCell
  var with: [Run] = []
  /// Runs without an order.
  var without: [Run] = []

  var fetched: Double {
    (median(with.map { Double($0.fetched) }) ?? 0)
      / Double(cell.least(epochs: ProgressStage.epochs))
  }

  /// nil: the cell has no order.
  var speed: Double? {
    guard let without = median(without.map(\.seconds)), let with = median(with.map(\.seconds))
    else {
      return nil
    }
    return without / with
  }

  var isGood: Bool { fetched <= Self.mostFetched && speed ?? 1 >= Self.leastSpeed }

  var line: String {
    let longest = (with + without).map(\.longestRead).max() ?? 0
    return "| \(cell) | \(hundredths(fetched)) | \(speed.map(hundredths) ?? "-") | "
      + "\(hundredths(longest)) | \(rounded(median(with.map(\.seconds)) ?? 0)) |"
  }
}
