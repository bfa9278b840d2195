/// The line of parked reads that wait for memory: the shell around `MemoryAdmission`.
import DequeModule
import Posix

final class ReadAdmission: Sendable {
  typealias Ticket = UInt64

  private struct Read {
    let object: CachedObject
    let ticket: Ticket
  }

  private struct State {
    var admission: MemoryAdmission<Read>
    /// Admitted, and not yet taken one step on.
    var admitted: Deque<Read> = []
    /// One thread at a time takes them on: a read that ends admits others, and so on.
    var isAdvancing = false
  }

  private let state: Lock<State>

  /// Share of the pool that admitted reads may hold. The rest is left to prefetched data that has no reader yet.
  static func budget(ofPool blocks: Int) -> Int { blocks * 3 / 4 }

  init(poolBlocks: Int) {
    state = Lock(State(admission: MemoryAdmission(budget: Self.budget(ofPool: poolBlocks))))
  }

  /// A read needs so many blocks. Not admitted: it waits in line; `object` is called when it is admitted.
  func enter(blocks: Int, _ object: CachedObject) -> (ticket: Ticket, isAdmitted: Bool) {
    state.withLock { state in
      let ticket = state.admission.newTicket()
      let read = Read(object: object, ticket: ticket)
      return (ticket, state.admission.enter(ticket, blocks: blocks, read))
    }
  }

  /// Whether a read that has entered is admitted by now. False also of one that is over: it gets no second place.
  func isAdmitted(_ ticket: Ticket) -> Bool { state.withLock { $0.admission.isAdmitted(ticket) } }

  /// The read is over: takes those that are admitted by it one step on. Call it without a lock held.
  func end(_ ticket: Ticket) {
    let isMine = state.withLock { state in
      state.admitted.append(contentsOf: state.admission.leave(ticket))
      if state.isAdvancing || state.admitted.isEmpty { return false }
      state.isAdvancing = true
      return true
    }
    guard isMine else { return }
    while let read = next() { read.object.wasAdmitted(read.ticket) }
  }

  private func next() -> Read? {
    state.withLock { state in
      if state.admitted.isEmpty { state.isAdvancing = false }
      return state.admitted.popFirst()
    }
  }
}
