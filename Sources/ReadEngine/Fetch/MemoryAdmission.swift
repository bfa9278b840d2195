/// Which parked reads may hold memory: first come, first served.
///
/// Pure. A read is admitted with every block that its pieces take, so what it has fetched stays until it is
/// answered. Until then it waits in line and holds nothing. Admitted reads together never hold more than the
/// budget, which is less than the pool: each of them gets its blocks, whatever the others do.
import DequeModule

struct MemoryAdmission<Read> {
  typealias Ticket = UInt64

  private struct Waiting {
    var ticket: Ticket
    var blocks: Int
    var read: Read
  }

  /// Blocks that admitted reads may hold together.
  let budget: Int
  /// Blocks of admitted reads.
  private(set) var admittedBlocks = 0
  private var admitted: [Ticket: Int] = [:]
  private var line: Deque<Waiting> = []
  private var lastTicket: Ticket = 0

  init(budget: Int) { self.budget = max(1, budget) }

  var waiting: Int { line.count }

  mutating func newTicket() -> Ticket {
    lastTicket += 1
    return lastTicket
  }

  /// True: the read is admitted. False: it waits in line, where a second call leaves it. A read that is larger
  /// than the budget counts as the whole of it.
  mutating func enter(_ ticket: Ticket, blocks: Int, _ read: Read) -> Bool {
    if admitted[ticket] != nil { return true }
    let blocks = min(max(1, blocks), budget)
    if line.isEmpty, admittedBlocks + blocks <= budget {
      admitted[ticket] = blocks
      admittedBlocks += blocks
      return true
    }
    if !line.contains(where: { $0.ticket == ticket }) {
      line.append(Waiting(ticket: ticket, blocks: blocks, read: read))
    }
    return false
  }

  func isAdmitted(_ ticket: Ticket) -> Bool { admitted[ticket] != nil }

  /// The read is over, admitted or not. Returns those that are admitted by it, in order.
  mutating func leave(_ ticket: Ticket) -> [Read] {
    if let blocks = admitted.removeValue(forKey: ticket) {
      admittedBlocks -= blocks
    } else if let index = line.firstIndex(where: { $0.ticket == ticket }) {
      line.remove(at: index)
    }
    return admitWhatFits()
  }

  /// No read overtakes the first of the queue, or a large read would wait for ever.
  private mutating func admitWhatFits() -> [Read] {
    var reads: [Read] = []
    while let first = line.first, admittedBlocks + first.blocks <= budget {
      line.removeFirst()
      admitted[first.ticket] = first.blocks
      admittedBlocks += first.blocks
      reads.append(first.read)
    }
    return reads
  }
}
