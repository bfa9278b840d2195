/// Reads that could not be answered at once: step by step to their answer.
import Glibc
import Logging
import Metrics
import ObjectStore
import Posix
import SystemPackage

extension CachedObject {
  enum Step {
    case reply([Part], CacheFile?)
    case fail(Errno)
    case timeOut
    case verify([Int])
    case parked(ObjectState.Plan)
  }

  /// Takes a reader one step on: to its answer, to the disk, or to its place among those that wait.
  /// `mayBlock`: this thread may wait for a disk.
  func advance(_ waiter: Waiter, mayBlock: Bool) {
    switch state.withLock({ step(waiter, in: &$0) }) {
    case .fail(let errno): fail(waiter, errno)
    case .timeOut: timeOut(waiter)
    case .parked(let plan): services.dispatcher.submit(plan.fetches, promoting: plan.promoted)
    case .reply(let parts, let file):
      onDisk(waiter, needed: file != nil && !mayBlock) { object, waiter in
        object.answer(waiter, parts, file)
      }
    case .verify(let pieces):
      onDisk(waiter, needed: !mayBlock) { object, waiter in
        object.verify(pieces)
        object.advance(waiter, mayBlock: true)
      }
    }
  }

  private func onDisk(
    _ waiter: Waiter, needed: Bool, _ body: @escaping @Sendable (CachedObject, Waiter) -> Void
  ) {
    if !needed { return body(self, waiter) }
    let waiter = UncheckedSendable(waiter)
    if !services.diskWorkers.submit({ [self] in body(self, waiter.value) }) {
      fail(waiter.value, .ioError)
    }
  }

  private func step(_ waiter: Waiter, in state: inout ObjectState) -> Step {
    switch state.standing(of: waiter.bytes) {
    case .disk, .mixed, .memory:
      let parts = state.parts(of: waiter.bytes, pool: services.pool)
      let needsDisk = parts.contains { if case .disk = $0 { true } else { false } }
      return .reply(parts, needsDisk ? state.file : nil)
    case .unverified:
      return .verify(state.unverified(in: waiter.bytes))
    case .missing:
      if state.isStale { return .fail(.staleNFSFileHandle) }
      if let failure = state.failure, failure.until > .now, failure.bytes.overlaps(waiter.bytes) {
        return .fail(failure.errno)
      }
      if services.dispatcher.isStopped { return .fail(.ioError) }
      if waiter.deadline <= .now { return .timeOut }
      var waiter = waiter
      waiter.waitedForStore = true
      guard admit(&waiter, in: &state) else {
        state.park(waiter)
        return .parked(ObjectState.Plan())
      }
      let link = services.dispatcher.link
      let outlook =
        state.isSmall
        ? StreamTracker.Outlook(ahead: 0, planned: 0)
        : state.streams.note(
          waiter.bytes, size: version.size, maxWindow: link.window, pipe: link.pipe)
      let plan = state.plan(for: waiter.bytes, outlook, on: link, of: self)
      state.park(waiter)
      return .parked(plan)
    }
  }

  /// Gives a read its place in the line for memory, and what it needs its protection once it is admitted.
  private func admit(_ waiter: inout Waiter, in state: inout ObjectState) -> Bool {
    let ticket = waiter.ticket ?? services.admission.newTicket()
    waiter.ticket = ticket
    let blocks = state.blocksNeeded(for: waiter.bytes)
    guard services.admission.admits(ticket, blocks: blocks, of: self) else { return false }
    state.admit(ticket, waiter.bytes)
    return true
  }

  /// The first in line was admitted: it asks for what it lacks. If it is under way to its next step, it finds out there.
  func wasAdmitted(_ ticket: ReadAdmission.Ticket) {
    guard let waiter = state.withLock({ $0.takeWaiter(ticket) }) else { return }
    advance(waiter, mayBlock: false)
  }

  /// The read is over: what it needed may be evicted, and the next in line is admitted.
  private func endAdmission(of waiter: Waiter) {
    guard let ticket = waiter.ticket else { return }
    services.memory.hold(state.withLock { $0.endRead(ticket) }, of: self)
    services.admission.end(ticket)
    services.dispatcher.memoryMayBeFree()
    services.retireIfIdle(self)
  }

  /// Answers from blocks and from the cache file, which this thread may wait for.
  private func answer(_ waiter: Waiter, _ parts: [Part], _ file: CacheFile?) {
    defer { for case .memory(let block, _, _) in parts { release(block) } }
    let diskBytes = parts.reduce(0) { sum, part in
      if case .disk(_, let count) = part { sum + count } else { sum }
    }
    services.scratch.withBuffer(of: diskBytes) { buffer in
      answer(waiter, parts, file, buffer, diskBytes)
    }
  }

  private func answer(
    _ waiter: Waiter, _ parts: [Part], _ file: CacheFile?,
    _ buffer: UnsafeMutableRawBufferPointer, _ diskBytes: Int
  ) {
    var position = 0
    var vectors: [iovec] = []
    for part in parts {
      switch part {
      case .memory(let block, let offset, let count):
        let base = services.pool.address(of: block) + offset
        vectors.append(iovec(iov_base: base, iov_len: count))
      case .disk(let offset, let count):
        let target = UnsafeMutableRawBufferPointer(rebasing: buffer[position..<position + count])
        let bytes = offset..<offset + UInt64(count)
        guard let file, services.files.read(file.descriptor, bytes, into: target) else {
          return diskFailed(waiter, bytes, of: file)
        }
        vectors.append(iovec(iov_base: target.baseAddress, iov_len: count))
        position += count
      }
    }
    let source: Source = waiter.waitedForStore ? .store : diskBytes > 0 ? .disk : .memory
    count(waiter.bytes.count, from: source)
    complete(waiter, source, bytes: waiter.bytes.count) { parked, wait in
      vectors.withUnsafeBufferPointer { parked.complete(.data($0), wait) }
    }
  }

  /// The cache file did not give what it should hold: cut short, or a bad disk. Fetched again.
  private func diskFailed(_ waiter: Waiter, _ bytes: Range<UInt64>, of file: CacheFile?) {
    services.diskTrouble("cannot read the cached copy of \(version.key)", .last)
    var waiter = waiter
    waiter.diskFailures += 1
    let givesUp = waiter.diskFailures > 1
    if let file {
      dropFromDisk(Array(Geometry.pieces(covering: bytes)), of: file, refusing: givesUp)
    }
    advance(waiter, mayBlock: true)
  }

  /// Its time is over, wherever that is found out.
  func timeOut(_ waiter: Waiter) {
    services.metrics.reads.timeouts.add()
    services.log.error(
      "read of \(version.key) timed out after \(services.configuration.ioTimeout.seconds) s")
    fail(waiter, .ioError)
  }

  func fail(_ waiter: Waiter, _ errno: Errno) {
    services.metrics.reads.failures.add()
    complete(waiter, .store, bytes: 0) { $0.complete(.failure(errno), $1) }
  }

  private func complete(
    _ waiter: Waiter, _ source: Source, bytes: Int, _ body: (any ParkedRead, ReadWait) -> Void
  ) {
    services.metrics.reads.parked.add(-1)
    body(
      waiter.parked,
      ReadWait(source: source, bytes: bytes, times: waiter.wait(until: .now)))
    endAdmission(of: waiter)
  }
}

/// Carries a value into a closure that runs once, on another thread.
struct UncheckedSendable<Value>: @unchecked Sendable {
  let value: Value
  init(_ value: Value) { self.value = value }
}
