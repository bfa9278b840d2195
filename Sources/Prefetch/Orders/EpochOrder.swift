/// One order of an epoch: which lines were opened, what is fetched ahead of them, when each file comes next.
/// Pure: the runner asks it for the next range, the file system's opens go in.
///
/// Several readers may be at several places of an order (a worker a batch), so what counts is not one place but
/// which lines were opened. Large files are planned as ranges: the first before the file is opened, the others as
/// its reader comes closer. All sums of bytes saturate.
package struct EpochOrder {
  /// A file of the order. `size` in bytes.
  package struct Item: Equatable {
    package var hash: UInt64
    package var size: UInt64

    package init(hash: UInt64, size: UInt64) {
      self.hash = hash
      self.size = size
    }
  }

  /// What became of a line.
  enum Stage: UInt8 {
    case waiting
    case opened
    /// Fetched ahead, then given up: readers have passed it.
    case passed
    /// Passed by before it was fetched.
    case skipped
  }

  /// Memory of the tables at most, bytes a line: `known` 24, `stages` 1, the three links 12, `positions` and
  /// `lastOf` 32 each where the hash tables are at their emptiest, and room for arrays that grow.
  static let bytesALine = 120

  let count: Int
  /// A file larger than two of these is planned as ranges of this size, bytes.
  let part: UInt64
  /// Lines of which it is known what they are; nil: no file.
  var known: [Item?] = []
  var stages: [Stage]
  /// The next line to be fetched.
  var cursor = 0
  /// Fetched or on its way, and not read yet, bytes.
  var ahead: UInt64 = 0
  /// Fetched for lines that were given up, bytes.
  var vain: UInt64 = 0
  private(set) var openedCount = 0
  /// Of the lines that were opened, bytes.
  private(set) var openedBytes: UInt64 = 0
  /// Lines opened before they had been fetched.
  private(set) var late = 0
  /// The furthest line that was opened; -1: none.
  private(set) var front = -1
  /// Below it no line waits.
  var tail = 0
  var unknown = 0
  /// The window had no room when it was asked last.
  var isFull = false
  /// Large files that are open, by line.
  var reading: [Int: Reading] = [:]
  private(set) var spread = ReaderSpread()
  private(set) var stride = ReaderStride()
  /// The step of readers by which fetched lines were given up last.
  var givenUpStep = 1

  /// The line at which a file comes next, by its hash; after its last, that one.
  private var positions: [UInt64: Int32] = [:]
  /// The last line of each file that comes more than once, until all lines are known.
  private var lastOf: [UInt64: Int32] = [:]
  /// Of a line, the next one and the one before of the same file, -1: none. Empty while no file comes twice.
  private var again: [Int32] = []
  private var before: [Int32] = []
  /// How many lines had been opened when this one was, or was given up; 0: it was not.
  private var openedAt: [Int32] = []
  /// Opened before it was known which lines they are.
  private var early: Set<UInt64> = []

  private static let earlyLimit = 1 << 16
  /// Lines nearer to each other than this are read in any order by several workers.
  private static let jumble = 64
  /// Of one part where the caller does not say, bytes.
  package static let usualPart: UInt64 = 32 << 20

  package init(count: Int, part: UInt64 = usualPart) {
    self.count = count
    self.part = max(1, part)
    stages = [Stage](repeating: .waiting, count: count)
    known.reserveCapacity(count)
  }

  var isDone: Bool { cursor >= count && tail >= count && reading.isEmpty }

  /// Adds what the next line is; nil: there is no such file.
  package mutating func learn(_ item: Item?) {
    let line = known.count
    known.append(item)
    defer { if known.count == count { lastOf = [:] } }
    guard let item else {
      unknown += 1
      return
    }
    defer { if early.remove(item.hash) != nil { _ = open(item.hash) } }
    guard let next = positions[item.hash] else {
      positions[item.hash] = Int32(line)
      return
    }
    link(line, after: lastOf[item.hash] ?? next, item.hash)
    // It was opened already: this is when it comes next.
    if stages[Int(next)] != .waiting, again[Int(next)] == line {
      positions[item.hash] = Int32(line)
    }
  }

  private mutating func link(_ line: Int, after last: Int32, _ hash: UInt64) {
    if again.isEmpty {
      again = [Int32](repeating: -1, count: count)
      before = again
      openedAt = [Int32](repeating: 0, count: count)
      // What was opened before the first file came twice was opened some time before now.
      for earlier in 0..<line where stages[earlier] != .waiting {
        openedAt[earlier] = Int32(max(1, openedCount))
      }
    }
    again[Int(last)] = Int32(line)
    before[line] = last
    lastOf[hash] = Int32(line)
  }

  /// A reader opens a file. False: it is none of this order's.
  package mutating func open(_ hash: UInt64) -> Bool {
    guard let position = positions[hash] else {
      if known.count < count, early.count < Self.earlyLimit { early.insert(hash) }
      return false
    }
    var line = Int(position)
    if isSecondLook(line) {
      line = Int(before[line])
      // Or the first look at a line that was given up.
      guard stages[line] != .waiting else { return true }
    }
    guard stages[line] != .opened else { return true }
    let wasFetched = stages[line] == .passed || stages[line] == .waiting && line < cursor
    note(line, wasFetched: wasFetched)
    leaveWindow(line, wasFetched: wasFetched)
    stages[line] = .opened
    moveOn(from: line, hash)
    moveTail()
    return true
  }

  private mutating func note(_ line: Int, wasFetched: Bool) {
    openedCount += 1
    openedBytes = Self.sum(openedBytes, known[line]?.size ?? 0)
    if !wasFetched { late += 1 }
    spread.opened(
      behind: front - line, isLate: !wasFetched && isFull, count: openedCount)
    stride.opened(line)
    front = max(front, line)
  }

  /// From now on the next line of this file counts.
  mutating func moveOn(from line: Int, _ hash: UInt64) {
    if again.isEmpty { return }
    openedAt[line] = Int32(clamping: max(1, openedCount))
    if again[line] >= 0 { positions[hash] = again[line] }
  }

  /// Whether a file is opened once more for the line before, because it is long before its turn: readers look
  /// at a file twice, or several ranks read the same one.
  private func isSecondLook(_ line: Int) -> Bool {
    guard !before.isEmpty, before[line] >= 0 else { return false }
    let last = Int(before[line])
    guard openedAt[last] > 0, line - last > Self.jumble else { return false }
    return openedCount - Int(openedAt[last]) < (line - last) / 2
  }

  /// Files read before this one, as far as it is known; `Int.max`: it was read or given up and comes last. Nil: it
  /// is none of this order's.
  package func distance(of hash: UInt64) -> Int? {
    guard let position = positions[hash] else { return nil }
    return stages[Int(position)] == .waiting ? max(0, Int(position) - max(0, front)) : .max
  }

  /// The same for when a file is read again: of one that is fetched ahead, or is the next to be, that is after the
  /// coming use.
  package func distanceAfter(_ hash: UInt64) -> Int? {
    guard let position = positions[hash] else { return nil }
    let line = Int(position)
    guard stages[line] == .waiting, line <= cursor else { return distance(of: hash) }
    let next = again.isEmpty ? -1 : Int(again[line])
    return next >= 0 ? next - max(0, front) : .max
  }

  /// Readers have come to its end, all but for what they may leave out: a last batch that is not full.
  var isNearItsEnd: Bool {
    known.count == count && front + spread.patience >= count && reading.isEmpty
      && openedCount >= count / 4 * 3
  }

  /// Memory of its tables now, bytes: hash tables have an eighth of a byte a place beside the entries.
  var tableBytes: Int {
    func table(_ capacity: Int, _ entry: Int) -> Int { capacity * 4 / 3 * entry + capacity / 6 }
    return known.capacity * MemoryLayout<Item?>.stride + stages.capacity
      + (again.capacity + before.capacity + openedAt.capacity) * 4
      + table(positions.capacity, 12) + table(lastOf.capacity, 12)
  }

  static func sum(_ left: UInt64, _ right: UInt64) -> UInt64 {
    let (sum, isOver) = left.addingReportingOverflow(right)
    return isOver ? .max : sum
  }
}
