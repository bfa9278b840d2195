import TestSupport

/// What each system reached, run by run.
struct TrainingResults {
  enum Phase: String, CaseIterable {
    case cold = "first epoch"
    case coldOrdered = "first epoch, order given"
    case warm = "second epoch"
    case half = "cache of half, third epoch"
    case halfOrdered = "cache of half, third epoch, order given"
  }

  struct Epoch {
    var loop: Trainer.Epoch
    /// From the store, to the size of the data set.
    var fetched: Double
    /// Median of what was seen, bytes.
    var pageCache: Int

    init(_ loop: Trainer.Epoch, fetched: Double, pageCache: Int) {
      self.loop = loop
      self.fetched = fetched
      self.pageCache = pageCache
    }
  }

  struct Line: Hashable {
    var shape: TrainingShape
    var phase: Phase
  }

  let conditions: Conditions
  /// Whether the page cache was held.
  let isCaged: Bool
  private(set) var lines: [Line] = []
  private(set) var values: [Line: [SystemKind: [Epoch]]] = [:]

  /// Seconds that a scattered read takes, alone and while a data set is filled.
  private(set) var fillCosts: [SystemKind: [(alone: Double, during: Double)]] = [:]

  init(conditions: Conditions, isCaged: Bool) {
    self.conditions = conditions
    self.isCaged = isCaged
  }

  mutating func add(_ shape: TrainingShape, _ phase: Phase, _ kind: SystemKind, _ epoch: Epoch) {
    let line = Line(shape: shape, phase: phase)
    if values[line] == nil { lines.append(line) }
    values[line, default: [:]][kind, default: []].append(epoch)
    let loop = epoch.loop
    say(
      "  \(phase.rawValue): busy \(hundredths(busy(line, loop))), waiting \(hundredths(waiting(line, loop))), "
        + "\(hundredths(epoch.fetched)) x fetched, \(rounded(loop.seconds)) s, "
        + "page cache \(epoch.pageCache >> 20) MiB")
  }

  mutating func addFillCost(_ kind: SystemKind, alone: Double, during: Double) {
    fillCosts[kind, default: []].append((alone, during))
    say("  a scattered read: \(rounded(alone * 1000)) ms, during fill \(rounded(during * 1000)) ms")
  }

  /// The accelerator's share: from the mount, or as MLPerf Storage has it, without the first step.
  func busy(_ line: Line, _ epoch: Trainer.Epoch) -> Double {
    line.shape.countsFromTheMount ? epoch.busy : epoch.utilisation
  }

  func waiting(_ line: Line, _ epoch: Trainer.Epoch) -> Double {
    line.shape.countsFromTheMount ? epoch.waiting : epoch.laterWaiting
  }

  var kinds: [SystemKind] {
    SystemKind.allCases.filter { kind in values.values.contains { $0[kind] != nil } }
  }

  /// Lines in the order of shapes and phases, however they came.
  var ordered: [Line] {
    TrainingShape.allCases.flatMap { shape in
      Phase.allCases.map { Line(shape: shape, phase: $0) }.filter { values[$0] != nil }
    }
  }
}
