import ReadEngine
import TestSupport

/// `--work eviction`: what the eviction policies find, beside what could be found. Nothing is mounted and
/// nothing written: the policy's own code, driven by traces.
struct EvictionBench {
  static let explanation =
    "hit ratios of the eviction policies over epochs, simulated; only when asked for"

  let isQuick: Bool

  private var seeds: Range<UInt64> { isQuick ? 1..<2 : 1..<4 }

  /// The main traces at full size; the others say the same with fewer, and a run takes seconds.
  private func files(_ kind: Trace.Kind) -> Int {
    if isQuick { return 2000 }
    return kind.isMain ? 20_000 : 4000
  }

  func run() throws {
    let report = report()
    try report.write(to: Checkout.buildFolder + "/bench")
    say(report.markdown)
    say("in .build/bench: eviction.md, eviction.json")
  }

  func report() -> EvictionReport {
    var report = EvictionReport(seeds: seeds.count)
    for kind in Trace.Kind.allCases {
      let traces = seeds.map { Trace(kind, files: files(kind), seed: $0) }
      for share in kind.isMain ? [10, 25, 50, 75, 90] : [25, 50] {
        for contestant in Contestant.allCases where kind.isMain || !contestant.hasOrder {
          let runs = zip(traces, seeds).map { contestant.run($0, share: share, seed: $1) }
          let found = runs[0].indices.map { epoch in median(runs.map { $0[epoch] }) ?? 0 }
          report.rows.append(
            EvictionReport.Row(
              kind: kind, share: share, policy: contestant.rawValue, files: files(kind),
              found: found))
        }
      }
    }
    return report
  }
}

/// Who plays a trace.
enum Contestant: String, CaseIterable {
  case lru, epoch
  case thisEpoch = "epoch, order of the epoch"
  case nextToo = "epoch, order of this and the next"
  case best = "MIN"

  var hasOrder: Bool { self == .thisEpoch || self == .nextToo }

  func run(_ trace: Trace, share: Int, seed: UInt64) -> [Double] {
    let capacity = trace.bytes * UInt64(share) / 100
    func replay(_ policy: EvictionPolicy, _ knowledge: CacheReplay.Knowledge) -> [Double] {
      var replay = CacheReplay(trace, policy, knowledge, capacity: capacity, seed: seed)
      return replay.run()
    }
    switch self {
    case .lru: return replay(.lru, .nothing)
    case .epoch: return replay(.epoch, .nothing)
    case .thisEpoch: return replay(.epoch, .thisEpoch)
    case .nextToo: return replay(.epoch, .nextToo)
    case .best: return BestReplay(trace, capacity: capacity).run()
    }
  }
}
