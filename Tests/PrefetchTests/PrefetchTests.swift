import ObjectStore
import Posix
import Testing

@testable import Prefetch

/// What is decided about what comes next, without a store.
@Suite struct PrefetchTests {
  // MARK: Walks

  private func name(_ number: Int) -> [UInt8] { Array("\(1000 + number)".utf8) }

  @Test func whoLooksAtTenFilesStartsNothing() {
    var pattern = WalkPattern(root: ObjectKey(""))
    let start = Instant.now
    for round in 0..<20 {
      for file in 0..<10 {
        let isNews = pattern.opened(
          name(file), in: ObjectKey("a/"), hash: UInt64(file), size: 1000,
          at: start + .milliseconds(round))
        #expect(!isNews)
      }
    }
    // Nor who looks at one after another for a long time.
    for file in 0..<100 {
      let isNews = pattern.opened(
        name(file), in: ObjectKey("b/"), hash: UInt64(file), size: 1000,
        at: start + .seconds(file * 6))
      #expect(!isNews)
    }
    #expect(pattern.targets(at: start + .seconds(600)).isEmpty)
  }

  @Test func aFolderThatIsReadIsATargetUntilItRests() {
    var pattern = WalkPattern(root: ObjectKey(""))
    let start = Instant.now
    var news: [Int] = []
    for file in 0..<40 {
      if pattern.opened(
        name(file), in: ObjectKey("a/"), hash: UInt64(file), size: 1000,
        at: start + .milliseconds(file))
      {
        news.append(file)
      }
    }
    #expect(news == [11])
    let target = WalkPattern.Target(folder: ObjectKey("a/"), isTree: false)
    #expect(pattern.targets(at: start + .seconds(1)) == [target])
    #expect(pattern.targets(at: start + .seconds(20)).isEmpty)
    let goesOn = pattern.opened(
      name(3), in: ObjectKey("a/"), hash: 3, size: 1000, at: start + .seconds(30))
    #expect(goesOn)
  }

  @Test func aFolderAClassIsATree() {
    var pattern = WalkPattern(root: ObjectKey("data/"))
    let start = Instant.now
    for file in 0..<64 {
      _ = pattern.opened(
        name(file), in: ObjectKey("data/train/c\(file % 20)/"), hash: UInt64(file),
        size: 1000, at: start + .milliseconds(file))
    }
    #expect(
      pattern.targets(at: start + .seconds(1)) == [
        WalkPattern.Target(folder: ObjectKey("data/train/"), isTree: true)
      ])
  }

  @Test func whatIsUnlikeWhatWasOpenedIsNoPartOfTheSet() {
    var pattern = WalkPattern(root: ObjectKey(""))
    let target = WalkPattern.Target(folder: ObjectKey("a/"), isTree: false)
    #expect(!pattern.isLike(1, target))
    for index in 0..<16 {
      _ = pattern.opened(
        name(index), in: target.folder, hash: UInt64(index), size: 1_000_000, at: .now)
    }
    #expect(pattern.isLike(8_000_000, target) && !pattern.isLike(8_000_001, target))
    // Of small files a larger one costs little.
    let small = WalkPattern.Target(folder: ObjectKey("b/"), isTree: false)
    _ = pattern.opened(name(1), in: small.folder, hash: 1, size: 10, at: .now)
    #expect(pattern.isLike(1 << 20, small) && !pattern.isLike(1 << 21, small))
    _ = pattern.opened(name(2), in: small.folder, hash: 2, size: .max, at: .now)
    #expect(pattern.isLike(.max, small))
  }

  @Test func fillStaysWithinItsMultiple() {
    let budget = FillBudget(multiple: 16)
    #expect(budget.allows(100, filled: 1500, asked: 100))
    #expect(!budget.allows(101, filled: 1500, asked: 100))
    #expect(!budget.allows(1, filled: 0, asked: 0))
    #expect(FillBudget(multiple: nil).allows(1 << 40, filled: 0, asked: 0))
  }

  /// Epochs over one set pay for nothing in another, and who opens large files and reads their heads has asked for
  /// heads.
  @Test func whatWasAskedIsOfTheSetAndWasRead() {
    var pattern = WalkPattern(root: ObjectKey(""))
    let target = WalkPattern.Target(folder: ObjectKey("b/"), isTree: false)
    for index in 0..<12 {
      _ = pattern.opened(
        name(index), in: target.folder, hash: UInt64(index), size: 1 << 30,
        readSoFar: 1 << 40 + UInt64(index) * 4096, at: .now)
    }
    let asked = pattern.activity(of: target)!.asked(readSoFar: 1 << 40 + 12 * 4096)
    #expect(asked == 12 * 4096)
    #expect(pattern.activity(of: target)!.asked(readSoFar: 1 << 50) == 12 << 30)
  }

  // MARK: Orders

  @Test func linesArePathsBelowTheMountHoweverTheyAreWritten() throws {
    let text = try OrderText(
      Array("a/b.jpg\n./c\r\n\n/mnt/data/d e\n/f\n././g".utf8), mountPoint: "/mnt/data")
    let lines = (0..<text.count).map { String(decoding: text[$0], as: UTF8.self) }
    #expect(lines == ["a/b.jpg", "c", "d e", "f", "g"])
    #expect(try OrderText([], mountPoint: "/mnt").count == 0)
  }

  /// Readers at several places of an order, some files of which are not there, come more than once or are
  /// never opened: the window holds, lines come in their order, and it comes to its end.
  @Test func anOrderIsFetchedInItsOrderWithinItsWindow() {
    for seed in 0..<500 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      let count = Int.random(in: 1...300, using: &random)
      let workers = Int.random(in: 1...4, using: &random)
      let window = UInt64.random(in: 1...2000, using: &random)
      let hasRepeats = Bool.random(using: &random)
      let lines = (0..<count).map { line -> EpochOrder.Item? in
        if Int.random(in: 0..<20, using: &random) == 0 { return nil }
        let hash = hasRepeats ? UInt64.random(in: 0..<50, using: &random) : UInt64(line)
        return EpochOrder.Item(hash: hash, size: 10 + hash)
      }
      var order = EpochOrder(count: count)
      var learnt = 0
      var taken: [Int] = []
      // Each worker has every so manieth line.
      var places = Array(0..<workers)
      var isLeft: Bool { places.contains { $0 < count } }
      var rounds = 0
      while isLeft || !order.isDone, rounds < 100_000 {
        rounds += 1
        switch Int.random(in: 0..<3, using: &random) {
        case 0:
          let more = min(count, learnt + Int.random(in: 0...50, using: &random))
          for line in learnt..<more { order.learn(lines[line]) }
          learnt = more
        case 1:
          while let next = order.takeNext(window: window) {
            #expect(next.item == lines[next.line], "seed \(seed)")
            taken.append(next.line)
            #expect(order.ahead <= max(window, next.item.size), "seed \(seed)")
          }
        default:
          let worker = Int.random(in: 0..<workers, using: &random)
          if places[worker] < count {
            if let item = lines[places[worker]] { _ = order.open(item.hash) }
            places[worker] += workers
          }
        }
      }
      #expect(taken == taken.sorted() && Set(taken).count == taken.count, "seed \(seed)")
      if !hasRepeats { #expect(order.isDone && order.ahead == 0, "seed \(seed)") }
    }
  }

  @Test func theWindowGrowsWithWhatWasOpened() {
    var order = EpochOrder(count: 300)
    for hash in 0..<300 as Range<UInt64> {
      order.learn(EpochOrder.Item(hash: hash, size: 1 << 20))
    }
    func taken() -> Int {
      var count = 0
      while order.takeNext(window: 64 << 20) != nil { count += 1 }
      return count
    }
    #expect(taken() == 32)
    for hash in 0..<8 as Range<UInt64> { _ = order.open(hash) }
    #expect(taken() == 8)
    for hash in 8..<16 as Range<UInt64> { _ = order.open(hash) }
    #expect(taken() == 40 && order.ahead == 64 << 20)
  }

  @Test func aSecondLookAtAFileIsNotItsNextReading() {
    for seed in 0..<50 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      let count = UInt64.random(in: 200...2000, using: &random)
      let epochs = (0..<2).map { _ in Array(0..<count).shuffled(using: &random) }
      var order = EpochOrder(count: Int(2 * count))
      for hash in epochs.joined() { order.learn(EpochOrder.Item(hash: hash, size: 1)) }
      // Every file is opened twice, the second time up to seven opens later.
      for epoch in epochs {
        for (index, hash) in epoch.enumerated() {
          _ = order.open(hash)
          if index >= 7 { _ = order.open(epoch[index - Int.random(in: 0...7, using: &random)]) }
        }
        if epoch == epochs[0] {
          // But for files whose lines are next to each other.
          #expect(order.openedCount <= Int(count) + 16, "seed \(seed)")
          let next = epochs[1][Int(count) - 1]
          #expect(order.distance(of: next)! > Int(count) * 3 / 4, "seed \(seed)")
        }
      }
      #expect(order.openedCount == Int(2 * count), "seed \(seed)")
    }
  }

  @Test func whatWasReadComesLastAgain() {
    var order = EpochOrder(count: 4)
    for hash in 0..<4 as Range<UInt64> { order.learn(EpochOrder.Item(hash: hash, size: 1)) }
    #expect(order.distance(of: 3) == 3)
    #expect(order.distance(of: 9) == nil)
    for hash in [0, 1] as [UInt64] {
      let isOurs = order.open(hash)
      #expect(isOurs)
    }
    #expect(order.distance(of: 0) == .max)
    #expect(order.distance(of: 3) == 2)
    let isOurs = order.open(9)
    #expect(!isOurs)
  }
}
