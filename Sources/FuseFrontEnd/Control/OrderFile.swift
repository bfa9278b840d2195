import SystemPackage

/// One open of an order's file: the text that is written to it, and the order that is made of it at each close(2).
///
/// A value without a lock or a thread: events come in, actions go out. The bytes that all open files hold together are
/// counted by the caller, which is told by how much a file grows and what it frees. `Closer` stands for a close(2) that
/// waits for its outcome.
struct OrderFile<Closer> {
  /// Whether a write may be stored.
  enum Admission: Equatable {
    /// `write` may follow, once so many bytes more are reserved.
    case grows(by: Int)
    /// The errno of write(2). The bytes that the file held are no longer held.
    case refused(Errno, freed: Int)
  }

  enum Action {
    /// close(2) ends with this.
    case answer(Closer, Errno?)
    /// The order is to be put in force; `applied` is due with what came of it.
    case apply([UInt8])
  }

  private enum Phase {
    case idle
    /// The order of an earlier close is being put in force. `first` caused that, `later` came since; a kernel that
    /// sends no FLUSH leaves no one to answer.
    case applying(first: Closer?, later: [Closer?])
  }

  /// Bytes that one file may hold.
  let limit: Int
  private(set) var text: [UInt8] = []
  /// Something was written since the last close.
  private var isWritten = false
  /// The file was refused as a whole: what came before is not an order then, nor what comes after.
  private var refusal: Errno?
  /// What came of the last order: each close(2) says so, since a child that inherits the descriptor closes it too.
  private var outcome: Errno?
  private var phase = Phase.idle

  init(limit: Int) { self.limit = limit }

  /// A write is about to come. A refusal lasts: the file is none of an order from then on.
  mutating func admit(_ count: Int, at offset: Int) -> Admission {
    if let refusal { return .refused(refusal, freed: 0) }
    guard offset >= 0, offset <= limit - count else {
      return .refused(.fileTooLarge, freed: refuse(.fileTooLarge))
    }
    return .grows(by: max(0, offset + count - text.count))
  }

  /// There is no space for what was to be written. Returns the bytes that are no longer held.
  mutating func refuse(_ error: Errno) -> Int {
    let freed = text.count
    text = []
    refusal = error
    return freed
  }

  /// After `admit`. Text mostly comes from one end to the other; a hole is zeros, which no path has.
  mutating func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) {
    isWritten = true
    if offset > text.count { text += [UInt8](repeating: 0, count: offset - text.count) }
    if offset == text.count {
      text += bytes
    } else {
      let end = min(text.count, offset + bytes.count)
      text.replaceSubrange(offset..<end, with: bytes)
    }
  }

  /// close(2) of a descriptor: what was written since the last one becomes an order before it is answered.
  mutating func flush(_ closer: Closer?) -> [Action] {
    if let refusal { return answer(closer, refusal) }
    if case .applying(let first, let later) = phase {
      phase = .applying(first: first, later: later + [closer])
      return []
    }
    guard isWritten else { return answer(closer, outcome) }
    isWritten = false
    phase = .applying(first: closer, later: [])
    return [.apply(text)]
  }

  /// What came of `apply`. What was written meanwhile is put in force for those that closed meanwhile.
  mutating func applied(_ outcome: Errno?) -> [Action] {
    guard case .applying(let first, let later) = phase else { return [] }
    phase = .idle
    self.outcome = outcome
    return later.reduce(into: answer(first, outcome)) { $0 += flush($1) }
  }

  private func answer(_ closer: Closer?, _ error: Errno?) -> [Action] {
    closer.map { [.answer($0, error)] } ?? []
  }
}
