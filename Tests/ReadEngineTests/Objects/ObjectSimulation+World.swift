import Posix

@testable import ReadEngine

extension ObjectSimulation {
  /// What is around an object, as far as a model needs it.
  struct World {
    struct Read {
      var bytes: Range<UInt64>
      var ticket: ReadAdmission.Ticket?
      var fetched: Set<Int> = []
    }

    var now = Instant(nanoseconds: 1_000_000_000)
    var opens = 0
    var lastEnd: UInt64 = 0
    /// Reads that were parked and are not answered.
    var reads: [WaiterID: Read] = [:]
    var queue: [Fetch] = []
    var jobs: [Job] = []
    /// Blocks in use, and what lies in them.
    var contents: [BlockPool.Block: (piece: Int, filled: Int)] = [:]
    var lastBlock: BlockPool.Block = 0
    var held: Set<Int> = []
    /// The disk: pieces with a record, those of them whose bytes are wrong, those that need no check.
    let hasDisk: Bool
    var hasCopy = false
    /// Actions that were decided and are still to be performed.
    var performing = 0
    /// The disk is being asked for a copy.
    var isConnecting = false
    var copy: CopyID?
    var recorded: Set<Int> = []
    var wrong: Set<Int> = []
    var trusted: Set<Int> = []
    private var admission: MemoryAdmission<ReadAdmission.Ticket>

    init(blocks: Int, hasDisk: Bool) {
      self.hasDisk = hasDisk
      admission = MemoryAdmission(budget: blocks)
    }

    var isQuiet: Bool { reads.isEmpty && queue.isEmpty && jobs.isEmpty }

    func isOnDisk(_ piece: Int) -> Bool { hasCopy && recorded.contains(piece) }

    /// What an earlier mount left, some of it before a crash.
    mutating func fillDisk(_ size: UInt64, _ random: inout SeededGenerator) {
      guard Bool.random(using: &random) else { return }
      hasCopy = true
      let count = Geometry.pieceCount(ofSize: size)
      let isSmall = size <= Geometry.smallObjectLimit
      let isTrusted = Bool.random(using: &random)
      for piece in 0..<count where isSmall || Int.random(in: 0..<3, using: &random) > 0 {
        recorded.insert(piece)
        if isTrusted { trusted.insert(piece) }
        if !isTrusted, Int.random(in: 0..<6, using: &random) == 0 { wrong.insert(piece) }
      }
    }

    /// The records as they are now: of all segments, or of these.
    func records(_ size: UInt64, _ indices: [Int]?) -> LoadedSegments {
      let unit = PresenceMap.piecesPerSegment
      let all = (Geometry.pieceCount(ofSize: size) + unit - 1) / unit
      var loaded = LoadedSegments(isComplete: indices == nil)
      for index in indices ?? Array(0..<all) {
        var segment = PresenceMap.Segment()
        for piece in recorded where piece / unit == index {
          segment.set(piece % unit, isPresent: true, isTrusted: trusted.contains(piece))
        }
        loaded.segments.append((index, segment))
      }
      return loaded
    }

    mutating func enter(blocks: Int) -> (ticket: ReadAdmission.Ticket, isAdmitted: Bool) {
      let ticket = admission.newTicket()
      return (ticket, admission.enter(ticket, blocks: blocks, ticket))
    }

    func isAdmitted(_ ticket: ReadAdmission.Ticket) -> Bool { admission.isAdmitted(ticket) }

    /// As if it had not entered before.
    mutating func enterAgain(_ ticket: ReadAdmission.Ticket) -> Bool {
      admission.enter(ticket, blocks: 1, ticket)
    }

    /// No read holds memory, and none waits for it.
    var isAdmissionFree: Bool { admission.admittedBlocks == 0 && admission.waiting == 0 }

    mutating func leave(_ ticket: ReadAdmission.Ticket) -> [ReadAdmission.Ticket] {
      admission.leave(ticket)
    }
  }
}
