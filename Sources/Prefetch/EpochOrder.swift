/// One order of an epoch: what of it was opened, how far ahead of that it was fetched, when each file
/// comes. Pure.
///
/// Positions are lines of the order. Several readers may be at several places of it (a worker a batch), so
/// what counts is not one place but which of the files were opened.
package struct EpochOrder {
  /// A file of the order.
  package struct Item: Equatable {
    package var hash: UInt64
    package var size: UInt64

    package init(hash: UInt64, size: UInt64) {
      self.hash = hash
      self.size = size
    }
  }

  /// So far behind the last opened, a file that was not opened was left out (a batch that was dropped).
  static let passed = 16384

  let count: Int
  /// Lines of which it is known what they are.
  private(set) var known: [Item?] = []
  /// The next line to be fetched.
  private(set) var cursor = 0
  /// Bytes from the readers to the cursor that were not opened yet.
  private(set) var ahead: UInt64 = 0
  private(set) var openedCount = 0
  /// Of the lines that were opened.
  private var openedBytes: UInt64 = 0
  /// Opened before the cursor had come to them.
  private(set) var late = 0
  private var opened: [Bool]
  /// The line at which a file comes next, by its hash; after its last, that one.
  private var positions: [UInt64: Int32] = [:]
  /// Of a line, the next one of the same file.
  private var again: [Int32: Int32] = [:]
  /// The last line of each file that comes more than once.
  private var lastOf: [UInt64: Int32] = [:]
  private var front = -1
  /// Opened before it was known which lines they are.
  private var early: Set<UInt64> = []
  private var unknown = 0
  /// Below it everything was opened or passed by.
  private var tail = 0

  package init(count: Int) {
    self.count = count
    opened = [Bool](repeating: false, count: count)
  }

  private static let earlyLimit = 1 << 16

  /// Of files with a next line: the line they were opened for last, and how many had been opened then.
  private var lastOpen: [UInt64: (line: Int, count: Int)] = [:]
  /// Lines nearer to each other than this are read in any order by several workers.
  private static let jumble = 64

  var isDone: Bool { cursor >= count && tail >= count }

  /// What the next line is; nil: there is no such file.
  package mutating func learn(_ item: Item?) {
    let line = Int32(known.count)
    known.append(item)
    guard let item else {
      unknown += 1
      return
    }
    defer { if early.remove(item.hash) != nil { _ = open(item.hash) } }
    guard let first = positions[item.hash] else {
      positions[item.hash] = line
      return
    }
    again[lastOf[item.hash] ?? first] = line
    lastOf[item.hash] = line
    // It has come already: this is when it comes next.
    if opened[Int(first)], again[first] == line {
      positions[item.hash] = line
      lastOpen[item.hash] = (Int(first), openedCount)
    }
  }

  /// A reader opens a file. False: it is none of this order's.
  package mutating func open(_ hash: UInt64) -> Bool {
    guard let position = positions[hash] else {
      if known.count < count, early.count < Self.earlyLimit { early.insert(hash) }
      return false
    }
    let line = Int(position)
    guard !opened[line], !isSecondLook(hash, line) else { return true }
    opened[line] = true
    openedCount += 1
    let size = known[line]?.size ?? 0
    openedBytes += size
    if line < cursor {
      if line >= tail { ahead -= min(ahead, size) }
    } else {
      late += 1
    }
    front = max(front, line)
    if let next = again[position] {
      positions[hash] = next
      lastOpen[hash] = (line, openedCount)
    }
    moveTail()
    return true
  }

  /// Whether a file is opened once more for the line before, because it is long before its turn: readers look
  /// at a file twice, or several ranks read the same one.
  private func isSecondLook(_ hash: UInt64, _ line: Int) -> Bool {
    guard let last = lastOpen[hash], line - last.line > Self.jumble else { return false }
    return openedCount - last.count < (line - last.line) / 2
  }

  /// Bytes ahead before anything was opened, and for each that was: a loader whose workers are just being started
  /// needs the processors too, and an order that nobody follows fetches no more than this.
  package static let firstWindow: UInt64 = 32 << 20
  private static let growth: UInt64 = 4

  /// Takes the next line to be fetched, if it is known and its bytes fit into the window, which grows to
  /// `window` as files are opened. What was opened, and what there is not, is passed over.
  package mutating func takeNext(window most: UInt64) -> (line: Int, item: Item)? {
    let window = min(most, max(Self.firstWindow, Self.growth * openedBytes))
    while cursor < known.count {
      guard let item = known[cursor], !opened[cursor] else {
        cursor += 1
        continue
      }
      // One at least, however large.
      guard ahead == 0 || ahead + item.size <= window else { return nil }
      defer { cursor += 1 }
      ahead += item.size
      return (cursor, item)
    }
    moveTail()
    return nil
  }

  /// Files read before this one, as far as it is known; `Int.max`: it was read and comes last again. Nil: it
  /// is none of this order's.
  package func distance(of hash: UInt64) -> Int? {
    guard let position = positions[hash] else { return nil }
    return opened[Int(position)] ? .max : max(0, Int(position) - max(0, front))
  }

  private mutating func moveTail() {
    while tail < min(cursor, known.count) {
      if !opened[tail], known[tail] != nil {
        guard front - tail > Self.passed || openedAll else { return }
        ahead -= min(ahead, known[tail]?.size ?? 0)
      }
      tail += 1
    }
  }

  /// Nobody will come back: all but a few were opened.
  private var openedAll: Bool {
    known.count == count && openedCount + unknown + count / 50 >= count
  }
}
