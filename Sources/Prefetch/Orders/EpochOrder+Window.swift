/// What to fetch next, and what counts as ahead.
extension EpochOrder {
  /// A range of a file that is to be fetched now.
  package struct Turn: Equatable {
    package var line: Int
    package var item: Item
    /// Of the file.
    package var bytes: Range<UInt64>
  }

  /// A large file that is open: how far it is planned and read, bytes.
  struct Reading: Equatable {
    var planned: UInt64
    var position: UInt64 = 0
    var unread: UInt64 { planned - min(planned, position) }
  }

  /// Bytes ahead before any file was opened, and for each that was: a loader whose workers are just being started
  /// needs the processors too, and an order that no reader follows fetches no more than this.
  package static let firstWindow: UInt64 = 32 << 20
  private static let growth: UInt64 = 4
  /// Large files of one order that are followed at once.
  static let readingLimit = 256

  /// Takes the next range to be fetched: `next` and `take` in one.
  package mutating func takeNext(window: UInt64) -> Turn? {
    guard let turn = next(window: window), take(turn) else { return nil }
    return turn
  }

  /// The next range to be fetched, if its bytes fit into the window, which grows to `window` as files are opened.
  /// Nothing is counted before `take`. The rest of open files comes first, with half of the window, then the lines in
  /// their order.
  package mutating func next(window most: UInt64) -> Turn? {
    let (grown, isOver) = openedBytes.multipliedReportingOverflow(by: Self.growth)
    let window = min(most, max(Self.firstWindow, isOver ? .max : grown))
    let unread = reading.values.reduce(0) { Self.sum($0, $1.unread) }
    if let turn = rest(window / 2, unread: unread) { return turn }
    // What was fetched in vain is at most as much as was read, and a window.
    let mayGoOn = vain <= Self.sum(openedBytes, most)
    var hasGivenUp = false
    isFull = false
    while cursor < known.count {
      guard let item = known[cursor], stages[cursor] == .waiting else {
        cursor += 1
        continue
      }
      guard stride.includes(cursor) else {
        skip(cursor, item)
        continue
      }
      let bytes = head(of: item)
      // One range at least, whatever is open.
      if mayGoOn, ahead <= unread || Self.sum(ahead, bytes) <= window {
        return Turn(line: cursor, item: item, bytes: 0..<bytes)
      }
      isFull = true
      if hasGivenUp || !giveUp() { return nil }
      hasGivenUp = true
    }
    moveTail()
    return nil
  }

  /// The range is on its way. False: things have changed since `next`, nothing was counted.
  package mutating func take(_ turn: Turn) -> Bool {
    let count = turn.bytes.upperBound - turn.bytes.lowerBound
    if let open = reading[turn.line] {
      guard open.planned == turn.bytes.lowerBound else { return false }
      let before = open.unread
      reading[turn.line]!.planned = turn.bytes.upperBound
      ahead = Self.sum(ahead, reading[turn.line]!.unread - before)
      return true
    }
    guard turn.line == cursor, stages[cursor] == .waiting else { return false }
    cursor += 1
    ahead = Self.sum(ahead, count)
    return true
  }

  /// A line of which it was found that there is no such file any more, or nothing to fetch.
  package mutating func drop(_ turn: Turn) {
    guard stages[turn.line] == .waiting, let item = known[turn.line] else {
      return closed(turn.line)
    }
    if turn.line < cursor { ahead -= min(ahead, head(of: item)) }
    stages[turn.line] = .skipped
    moveOn(from: turn.line, item.hash)
    moveTail()
  }

  /// What is fetched of a file before it is opened, bytes.
  func head(of item: Item) -> UInt64 { item.size / 2 <= part ? item.size : part }

  private func rest(_ window: UInt64, unread: UInt64) -> Turn? {
    // The reader that is nearest to the end of what is planned.
    var nearest: (line: Int, reading: Reading)?
    for (line, open) in reading where open.unread < part && open.planned < known[line]!.size {
      if let nearest, (nearest.reading.unread, nearest.line) < (open.unread, line) { continue }
      nearest = (line, open)
    }
    guard let nearest, let item = known[nearest.line] else { return nil }
    let start = nearest.reading.planned
    let end = min(item.size, Self.sum(start, part))
    guard nearest.reading.unread == 0 || Self.sum(unread, end - start) <= window else { return nil }
    return Turn(line: nearest.line, item: item, bytes: start..<end)
  }

  // MARK: Readers

  /// A line was opened: what of it lies in the window.
  mutating func leaveWindow(_ line: Int, wasFetched: Bool) {
    guard let item = known[line] else { return }
    let planned = wasFetched ? head(of: item) : 0
    let counted = stages[line] == .waiting ? planned : 0
    if stages[line] == .passed { vain -= min(vain, planned) }
    guard item.size > head(of: item), reading.count < Self.readingLimit else {
      ahead -= min(ahead, counted)
      return
    }
    ahead = Self.sum(ahead, planned - counted)
    reading[line] = Reading(planned: planned)
  }

  /// The reader of a large file that is open has come to `position`, bytes.
  package mutating func advanced(_ line: Int, to position: UInt64) {
    guard var open = reading[line], position > open.position else { return }
    let unread = open.unread
    open.position = position
    // What lies before the reader came by demand: it is not planned again.
    open.planned = min(known[line]!.size, max(open.planned, position))
    ahead -= min(ahead, unread - open.unread)
    reading[line] = open
    if open.position >= known[line]!.size { closed(line) }
  }

  /// No reader has it open any more: no more of it is fetched.
  package mutating func closed(_ line: Int) {
    guard let open = reading.removeValue(forKey: line) else { return }
    ahead -= min(ahead, open.unread)
  }

  // MARK: Lines that readers have passed

  /// The window is full and readers may have passed lines: those further behind the front than readers are apart
  /// are given up. True: something was.
  private mutating func giveUp() -> Bool {
    let hasLeftOut = giveUpBesideTheStride()
    let border = min(known.count, front - spread.patience)
    guard border > tail, spread.mayPass(front - tail) else { return hasLeftOut }
    for line in tail..<border where stages[line] == .waiting { giveUp(line) }
    cursor = max(cursor, border)
    moveTail()
    return true
  }

  /// What was fetched before it was seen that each n-th line is read. Looked at once for a step.
  private mutating func giveUpBesideTheStride() -> Bool {
    guard stride.step != givenUpStep else { return false }
    givenUpStep = stride.step
    let before = vain
    for line in min(tail, cursor)..<cursor where stages[line] == .waiting && !stride.includes(line)
    {
      giveUp(line)
    }
    moveTail()
    return vain > before
  }

  private mutating func giveUp(_ line: Int) {
    guard let item = known[line] else { return }
    if line < cursor {
      let bytes = head(of: item)
      ahead -= min(ahead, bytes)
      vain = Self.sum(vain, bytes)
      stages[line] = .passed
    } else {
      stages[line] = .skipped
    }
    moveOn(from: line, item.hash)
  }

  private mutating func skip(_ line: Int, _ item: Item) {
    stages[line] = .skipped
    moveOn(from: line, item.hash)
    cursor += 1
  }

  mutating func moveTail() {
    while tail < min(cursor, known.count) {
      if stages[tail] == .waiting, let item = known[tail] {
        guard openedAll else { return }
        ahead -= min(ahead, head(of: item))
        stages[tail] = .passed
        moveOn(from: tail, item.hash)
      }
      tail += 1
    }
  }

  /// All but a few lines were opened: the rest was left out.
  private var openedAll: Bool {
    known.count == count && openedCount + unknown + count / 50 >= count
  }
}
