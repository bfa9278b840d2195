/// Belady's MIN: what a cache that knows the future would find. Exact, in bytes: a file may be kept in part,
/// so no cache that keeps whole files finds more.
struct BestReplay {
  private struct Kept {
    /// The open, in the whole trace, that reads it next.
    var nextUse: Int
    var file: Int
  }

  private let trace: Trace
  private let capacity: UInt64

  init(_ trace: Trace, capacity: UInt64) {
    self.trace = trace
    self.capacity = capacity
  }

  /// Share of the bytes of each epoch that are found.
  func run() -> [Double] {
    let opens = trace.epochs.flatMap { $0 }
    var nextUse = [Int](repeating: .max, count: opens.count)
    var seen = [Int](repeating: .max, count: trace.sizes.count)
    for place in opens.indices.reversed() {
      nextUse[place] = seen[opens[place]]
      seen[opens[place]] = place
    }
    var heap = Heap()
    var held = [UInt64](repeating: 0, count: trace.sizes.count)
    var used: UInt64 = 0
    var place = 0
    return trace.epochs.map { files in
      var (found, asked): (UInt64, UInt64) = (0, 0)
      for file in files {
        found += held[file]
        asked += trace.sizes[file]
        used -= held[file]
        held[file] = 0
        if nextUse[place] != .max {
          held[file] = trace.sizes[file]
          used += held[file]
          heap.push(nextUse[place], file)
        }
        // What is read next the latest goes, what was just read too. An entry of the past says nothing.
        while used > capacity, let worst = heap.popFarthest() {
          let over = min(used - capacity, held[worst.file])
          held[worst.file] -= over
          used -= over
          if held[worst.file] > 0 { heap.push(worst.nextUse, worst.file) }
        }
        place += 1
      }
      return Double(found) / Double(asked)
    }
  }

  /// The farthest at the top.
  private struct Heap {
    private var kept: [Kept] = []

    mutating func push(_ nextUse: Int, _ file: Int) {
      kept.append(Kept(nextUse: nextUse, file: file))
      var child = kept.count - 1
      while child > 0, kept[(child - 1) / 2].nextUse < kept[child].nextUse {
        kept.swapAt(child, (child - 1) / 2)
        child = (child - 1) / 2
      }
    }

    mutating func popFarthest() -> Kept? {
      guard let top = kept.first else { return nil }
      let last = kept.removeLast()
      if kept.isEmpty { return top }
      kept[0] = last
      var parent = 0
      while true {
        var child = 2 * parent + 1
        guard child < kept.count else { return top }
        if child + 1 < kept.count, kept[child + 1].nextUse > kept[child].nextUse { child += 1 }
        guard kept[child].nextUse > kept[parent].nextUse else { return top }
        kept.swapAt(child, parent)
        parent = child
      }
    }
  }
}
