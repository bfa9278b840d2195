/// A piece in memory, arriving or complete.
struct MemoryPiece {
  var block: BlockPool.Block
  /// Bytes of it that have arrived, from its start.
  var filled = 0
  var isComplete = false
  /// Waits for the disk or is being written: must stay.
  var isDirty = false
  /// Fetched because it is announced as read later.
  var isPlanned = false
  /// The memory tier has it on its list of what may be evicted.
  var isListed = false
  /// Read to its end, ever.
  private var wasFinished = false
  /// Read at all, ever.
  private var wasBegun = false
  /// Read since the memory tier last looked at it.
  private var wasRead = false
  /// How often it was looked at since it was read last, or came.
  private var looks: UInt8 = 0

  /// A piece that was begun is read on in a moment: it counts as read after so many looks without a read.
  private static let patience: UInt8 = 4

  init(block: BlockPool.Block) { self.block = block }

  /// On the path of a hit: two stores.
  mutating func noteRead(toItsEnd: Bool) {
    wasRead = true
    if toItsEnd { wasFinished = true }
  }

  /// How it stands for `lru`: it has a second chance from the start, or read-ahead would go before what was
  /// read already.
  mutating func lookForSecondChance() -> HeldLook {
    defer {
      wasRead = false
      looks = 1
    }
    return wasRead || looks == 0 ? .wanted(nextUse: nil) : .read
  }

  /// Its state for the policy `epoch`, where it is unknown when it is read. `isOpen`: its file is open.
  mutating func look(isOpen: Bool) -> HeldLook {
    if wasFinished { return .read }
    if wasRead {
      wasRead = false
      wasBegun = true
      looks = 0
    }
    if !isOpen, wasBegun || !isPlanned { return .read }
    guard wasBegun else { return .wanted(nextUse: nil) }
    looks = min(looks + 1, Self.patience)
    return looks == Self.patience ? .read : .wanted(nextUse: nil)
  }
}
