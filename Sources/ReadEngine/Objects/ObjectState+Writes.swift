/// Whether the disk takes what arrives of an object, and what is done when it takes it again.
import Posix

/// Whether what arrives of an object goes to disk.
enum DiskWrites: Equatable {
  case taken
  /// There was no room, or trouble. Tried again from then on, or when the object is opened anew.
  case refused(until: Instant)
  /// There is no disk tier, or nothing to write.
  case never
}

extension ObjectState {
  /// The disk takes nothing of this object until then: what waits to be written stays in memory. Returns those
  /// pieces.
  mutating func refuseWrites(until: Instant) -> [Int] {
    writes = .refused(until: until)
    defer { dirty = [] }
    for piece in dirty { memory[piece]?.isDirty = false }
    return dirty
  }

  /// It is time to try the disk again with what arrives. A small object is written whole or not at all: that waits
  /// for the next time it is opened.
  func isTimeToWrite(at now: Instant) -> Bool {
    guard case .refused(let until) = writes else { return false }
    return !isSmall && now >= until
  }

  /// The first open after the last close: what the disk refused before is tried again.
  mutating func forgetRefusal() {
    guard case .refused = writes, !isSmall || fetches.isEmpty && isAllOrNothingInMemory else {
      return
    }
    isPrepared = false
  }

  private var isAllOrNothingInMemory: Bool {
    memory.isEmpty || memory.count == pieceCount && memory.values.allSatisfy { $0.isComplete }
  }

  /// The disk takes writes again: what memory alone holds is to be written. False: that is a part of a small object,
  /// which is written whole or not at all.
  mutating func writeWhatIsHeld() -> Bool {
    if isSmall, file == nil, !(fetches.isEmpty && isAllOrNothingInMemory) { return false }
    let held = memory.filter { $0.value.isComplete && !$0.value.isDirty }.map(\.key)
    for piece in held where !presence.isPresent(piece) {
      memory[piece]!.isDirty = true
      dirty.append(piece)
    }
    return true
  }
}
