import Posix
import Testing

@testable import Prefetch

/// Orders under readers of many shapes: they never stall, and what is fetched in vain has a bound.
@Suite struct EpochOrderTests {
  /// An order and its runner, which fetches whatever there is room for after each open.
  private struct Run {
    var order: EpochOrder
    let sizes: [UInt64]
    let window: UInt64
    var fetched: UInt64 = 0
    /// Opens of lines that were not fetched.
    var late = 0
    var deleted: Set<Int> = []
    private(set) var taken: [Int: UInt64] = [:]

    init(sizes: [UInt64], window: UInt64, part: UInt64 = EpochOrder.usualPart) {
      order = EpochOrder(count: sizes.count, part: part)
      self.sizes = sizes
      self.window = window
      for (line, size) in sizes.enumerated() {
        order.learn(EpochOrder.Item(hash: UInt64(line), size: size))
      }
    }

    mutating func fetch() {
      while let turn = order.next(window: window) {
        if deleted.contains(turn.line) {
          order.drop(turn)
          continue
        }
        let isTaken = order.take(turn)
        #expect(isTaken)
        #expect(turn.bytes.lowerBound == taken[turn.line] ?? 0 || turn.bytes.lowerBound > 0)
        taken[turn.line] = turn.bytes.upperBound
        fetched += turn.bytes.upperBound - turn.bytes.lowerBound
      }
    }

    mutating func open(_ line: Int) {
      if taken[line] == nil { late += 1 }
      _ = order.open(UInt64(line))
      fetch()
    }
  }

  private func sizes(_ count: Int, _ random: inout SeededGenerator) -> [UInt64] {
    (0..<count).map { _ in UInt64.random(in: 50...150, using: &random) }
  }

  @Test func anOrderOfWhichEachNthLineIsReadKeepsFlowing() {
    for seed in 0..<200 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      let count = Int.random(in: 400...3000, using: &random)
      let step = Int.random(in: 2...8, using: &random)
      let first = Int.random(in: 0..<step, using: &random)
      var run = Run(
        sizes: sizes(count, &random), window: UInt64.random(in: 1000...4000, using: &random))
      run.fetch()
      let lines = Array(stride(from: first, to: count, by: step))
      for line in lines { run.open(line) }
      #expect(run.late <= 48, "seed \(seed): \(run.late) of \(lines.count) late")
      let read = lines.reduce(0) { $0 + run.sizes[$1] }
      // The stride is known after 16 opens: what was fetched before that is all.
      #expect(run.fetched <= read + 4 * run.window, "seed \(seed)")
    }
  }

  /// A window's worth of lines that nobody opens stopped the order for good.
  @Test func linesThatAreSkippedAtRandomDoNotStopAnOrder() {
    for seed in 0..<200 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      let count = Int.random(in: 60...3000, using: &random)
      let share = Int.random(in: 10...60, using: &random)
      var run = Run(
        sizes: sizes(count, &random), window: UInt64.random(in: 1000...4000, using: &random))
      run.fetch()
      var read: UInt64 = 0
      var opens = 0
      for line in 0..<count where Int.random(in: 0..<100, using: &random) >= share {
        run.open(line)
        opens += 1
        read += run.sizes[line]
        #expect(run.order.vain <= read + 2 * run.window, "seed \(seed)")
      }
      // As much in vain as was read, at most: of less than half that is read the rest comes late.
      let excused = share > 45 ? opens : opens / 10
      #expect(
        run.late <= 48 + excused, "seed \(seed): \(run.late) of \(opens) late, \(share) % skipped")
      #expect(run.fetched <= 2 * read + 3 * run.window, "seed \(seed)")
    }
  }

  @Test func workersThatTakeBatchesAreWaitedFor() {
    for seed in 0..<100 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      let workers = Int.random(in: 1...8, using: &random)
      let batch = Int.random(in: 1...64, using: &random)
      let count = workers * batch * Int.random(in: 4...12, using: &random)
      var run = Run(sizes: sizes(count, &random), window: UInt64(300 * workers * batch))
      run.fetch()
      // Each worker has every so manieth batch; the slowest is a batch behind.
      var places = (0..<workers).map { $0 * batch }
      while let worker = places.indices.filter({ places[$0] < count })
        .min(by: { places[$0] / (workers * batch) < places[$1] / (workers * batch) })
      {
        run.open(places[worker])
        places[worker] += 1
        if places[worker] % batch == 0 { places[worker] += (workers - 1) * batch }
      }
      #expect(run.late == 0, "seed \(seed)")
      #expect(run.fetched == run.sizes.reduce(0, +), "seed \(seed): something was fetched in vain")
      #expect(run.order.isDone && run.order.ahead == 0, "seed \(seed)")
    }
  }

  @Test func aRestartInTheMiddleIsFollowed() {
    for seed in 0..<100 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      let count = Int.random(in: 1000...3000, using: &random)
      let window = UInt64.random(in: 1000...4000, using: &random)
      var run = Run(sizes: sizes(count, &random), window: window)
      run.fetch()
      let stop = Int.random(in: 0...200, using: &random)
      for line in 0..<stop { run.open(line) }
      let start = Int.random(in: stop + 100..<count - 100, using: &random)
      for line in start..<count { run.open(line) }
      #expect(run.late <= 48, "seed \(seed): \(run.late) late")
      #expect(run.order.vain <= 4 * window, "seed \(seed): \(run.order.vain) of \(window)")
    }
  }

  /// Two ranks read a half each; one of them dies, the other goes on.
  @Test func ranksFarApartAndOneThatDiesDoNotStopAnOrder() {
    for seed in 0..<100 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      let half = Int.random(in: 500...2000, using: &random)
      let window = UInt64.random(in: 1000...4000, using: &random)
      var run = Run(sizes: sizes(2 * half, &random), window: window)
      run.fetch()
      let death = Bool.random(using: &random) ? half : Int.random(in: 50..<half / 4, using: &random)
      var lateOfFirst = 0
      for step in 0..<half {
        if step < death {
          let before = run.late
          run.open(step)
          lateOfFirst += run.late - before
        }
        run.open(half + step)
      }
      // The first reads from what was fetched as long as it is alive.
      #expect(lateOfFirst <= 4, "seed \(seed): \(lateOfFirst)")
      // After its death the other's part is fetched ahead: in the end it does not come late.
      if death < half {
        #expect(run.late < death + 900, "seed \(seed): \(run.late) late, dead after \(death)")
      }
    }
  }

  @Test func linesThatAreGoneTakeNoRoom() {
    for seed in 0..<100 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      let count = Int.random(in: 100...1000, using: &random)
      var run = Run(sizes: sizes(count, &random), window: 1000)
      run.deleted = Set((0..<count).filter { _ in Int.random(in: 0..<3, using: &random) == 0 })
      run.fetch()
      for line in 0..<count where !run.deleted.contains(line) { run.open(line) }
      #expect(run.late == 0, "seed \(seed)")
      #expect(run.order.isDone && run.order.ahead == 0, "seed \(seed)")
    }
  }

  @Test func aLineThatWasGivenUpCountsWhenItIsOpenedAfterAll() {
    var run = Run(sizes: [UInt64](repeating: 100, count: 400), window: 2000)
    run.fetch()
    for line in 200..<260 { run.open(line) }
    #expect(run.order.vain > 0)
    #expect(run.order.distance(of: 0) == .max)
    let (vain, opened) = (run.order.vain, run.order.openedCount)
    run.open(0)
    #expect(run.order.vain == vain - 100)
    #expect(run.order.openedCount == opened + 1)
    #expect(run.order.spread.patience >= 200)
  }

  @Test func whatIsFetchedAheadIsWorthWhatItsNextUseAfterThatIs() {
    var order = EpochOrder(count: 6)
    for hash in [0, 1, 2, 1, 0, 3] as [UInt64] { order.learn(EpochOrder.Item(hash: hash, size: 1)) }
    #expect(order.distanceAfter(0) == 4)
    // Not fetched yet: it is worth its coming use.
    #expect(order.distanceAfter(1) == 1 && order.distanceAfter(2) == 2)
    while order.takeNext(window: 2) != nil {}
    #expect(order.cursor == 2 && order.distance(of: 1) == 1 && order.distanceAfter(1) == 3)
    #expect(order.distanceAfter(2) == .max && order.distanceAfter(9) == nil)
    _ = order.open(0)
    #expect(order.distanceAfter(0) == 4 && order.distance(of: 0) == 4)
  }

  // MARK: Large files

  @Test func aLargeFileIsFetchedAsItsReaderAdvances() {
    let part: UInt64 = 100
    var run = Run(sizes: [950, 950, 950], window: 400, part: part)
    run.fetch()
    // The first part of each, and nothing more before they are opened.
    #expect(run.fetched == 300)
    run.open(0)
    for position in stride(from: UInt64(0), through: 950, by: 10) {
      run.order.advanced(0, to: position)
      run.fetch()
      #expect(run.order.ahead <= 400)
      let planned = run.order.reading[0]?.planned ?? 950
      #expect(planned >= min(950, position + part) || position == 0)
      #expect(planned <= position + 2 * part)
    }
    #expect(run.fetched == 950 + 200 && run.order.ahead == 200 && run.order.reading.isEmpty)
    // A reader that goes away takes its rest out of the window.
    run.open(1)
    run.order.closed(1)
    run.fetch()
    #expect(run.order.ahead == 100)
    run.open(2)
    run.order.closed(2)
    #expect(run.order.isDone && run.order.ahead == 0)
  }

  @Test func rangesOfLargeFilesStayWithinTheWindow() {
    for seed in 0..<200 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      let count = Int.random(in: 4...40, using: &random)
      let part = UInt64.random(in: 10...100, using: &random)
      let sizes = (0..<count).map { _ in UInt64.random(in: 1...2000, using: &random) }
      let readers = Int.random(in: 1...4, using: &random)
      var run = Run(sizes: sizes, window: 4 * part, part: part)
      run.fetch()
      var places: [(line: Int, position: UInt64)] = []
      var next = 0
      while next < count || !places.isEmpty {
        if places.count < readers, next < count {
          run.open(next)
          places.append((next, 0))
          next += 1
          continue
        }
        let index = Int.random(in: places.indices, using: &random)
        places[index].position += UInt64.random(in: 1...part, using: &random)
        run.order.advanced(places[index].line, to: places[index].position)
        if places[index].position >= sizes[places[index].line] { places.remove(at: index) }
        run.fetch()
        // A range at least for each reader, and for the next line.
        #expect(run.order.ahead <= 4 * part + UInt64(readers + 1) * 2 * part, "seed \(seed)")
      }
      #expect(run.late == 0, "seed \(seed)")
      #expect(
        run.order.isDone && run.order.ahead == 0,
        "seed \(seed): \(run.order.cursor) of \(count), \(run.order.ahead) ahead, reading \(run.order.reading), tail \(run.order.tail)"
      )
      #expect(run.fetched <= sizes.reduce(0, +), "seed \(seed): a byte was fetched twice")
    }
  }

  @Test func sizesOfAnyMagnitudeAreCounted() {
    var run = Run(sizes: [UInt64](repeating: .max, count: 64), window: .max)
    run.fetch()
    for line in 0..<64 { run.open(line) }
    for line in 0..<64 { run.order.closed(line) }
    #expect(run.order.ahead == 0)
    #expect(run.order.openedBytes == .max)
  }

  // MARK: The book

  @Test func ordersInForceHaveABudgetAndGiveItBack() throws {
    let line = Array("some/path/of/a/file\n".utf8)
    let text = try OrderText([UInt8]((0..<1000).flatMap { _ in line }), mountPoint: "/m")
    let book = OrderBook(memoryLimit: 2 * text.memory + 10)
    try book.take(text, name: "a")
    try book.take(text, name: "b")
    #expect(throws: OrderBook.Refusal.noMemory(needed: text.memory, left: 10)) {
      try book.take(text, name: "c")
    }
    #expect(!book.hasRoom(forText: 11, name: "c") && book.hasRoom(forText: 11, name: "a"))
    // One of the same name takes its place.
    try book.take(text, name: "a")
    #expect(book.memory == 2 * text.memory)
    #expect(book.remove("b"))
    try book.take(text, name: "c")
    try book.take(OrderText([], mountPoint: "/m"), name: "a")
    #expect(book.memory == text.memory)
    #expect(book.names == ["c"])
  }

  @Test func whatAnOrderTakesIsNotMoreThanIsCounted() {
    // The tables of lines that are all different, and of lines that all come twice.
    for isTwice in [false, true] {
      let count = 1 << 12
      var order = EpochOrder(count: count)
      for line in 0..<count {
        let hash = UInt64(isTwice ? line % (count / 2) : line) &* 0x9E37_79B9_7F4A_7C15
        order.learn(EpochOrder.Item(hash: hash, size: 1))
      }
      #expect(order.tableBytes <= count * EpochOrder.bytesALine)
    }
  }

  @Test func onlyTheOrdersThatWereFollowedLastAreConsulted() throws {
    let book = OrderBook(memoryLimit: 1 << 20)
    for name in 0..<OrderBook.limit {
      try book.take(OrderText(Array("f\(name)\n".utf8), mountPoint: "/m"), name: "\(name)")
      book.state.withLock {
        $0.orders["\(name)"]!.order.learn(EpochOrder.Item(hash: UInt64(name), size: 1))
      }
    }
    #expect(throws: OrderBook.Refusal.tooMany) {
      try book.take(OrderText(Array("f\n".utf8), mountPoint: "/m"), name: "one more")
    }
    #expect(book.distance(of: 63) == 0)
    #expect(book.distance(of: 0) == nil)
    #expect(book.opened(0).isNews)
    #expect(book.state.withLock { $0.followed.count } == OrderBook.limit)
    #expect(book.state.withLock { $0.followed.first } == "0")
  }
}
