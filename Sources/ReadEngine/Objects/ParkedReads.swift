/// Reads that could not be answered at once: from the machine to their answer, over a disk worker where it takes one.
import Glibc
import Logging
import Metrics
import ObjectStore
import Posix
import SystemPackage

/// The parked reads of one object, on their way: a name for that work, it holds nothing itself.
struct ParkedReads: Sendable {
  let object: CachedObject

  private var services: EngineServices { object.services }
  private var version: ObjectVersion { object.version }

  /// A parked read on its way to its answer, off the machine.
  private struct Read {
    var waiter: Waiter
    let parked: any ParkedRead
  }

  func advance(_ work: CachedObject.Work, _ mayBlock: Bool) {
    guard let parked = work.parked else { return }
    switch work.action {
    case .reply(let waiter, let segments):
      let (read, file) = (Read(waiter: waiter, parked: parked), work.file)
      let isTaken = onDisk(read, needed: file != nil && !mayBlock) { reads, read in
        reads.answer(read, segments, file)
      }
      if !isTaken { release(segments) }
    case .verify(let waiter, let pieces):
      _ = onDisk(Read(waiter: waiter, parked: parked), needed: !mayBlock) { reads, read in
        reads.object.copyOnDisk.verify(pieces)
        reads.advance(read, mayBlock: true)
      }
    case .fail(let waiter, let errno): fail(Read(waiter: waiter, parked: parked), errno)
    case .timeOut(let waiter): timeOut(Read(waiter: waiter, parked: parked))
    case .askForMemory(let waiter, let blocks):
      var read = Read(waiter: waiter, parked: parked)
      let place = services.admission.enter(blocks: blocks, object)
      read.waiter.ticket = place.ticket
      read.waiter.isAdmitted = place.isAdmitted
      advance(read, mayBlock: mayBlock)
    default: break
    }
  }

  /// `needed`: on a disk worker. False: there is none, the read has failed.
  private func onDisk(
    _ read: Read, needed: Bool, _ body: @escaping @Sendable (ParkedReads, Read) -> Void
  ) -> Bool {
    if !needed {
      body(self, read)
    } else if !services.diskReads.workers.submit({ body(self, read) }) {
      fail(read, .ioError)
      return false
    }
    return true
  }

  private func release(_ segments: [ReplySegment]) {
    for case .memory(let block, _, _) in segments { object.release(block) }
  }

  /// Takes a read that is off the machine one step on.
  private func advance(_ read: Read, mayBlock: Bool) {
    let terms = object.terms
    let work = object.withState { state in
      state.parked[read.waiter.id] = read.parked
      return object.resolve(state.machine.advance(read.waiter, terms), &state)
    }
    object.perform(work, mayBlock: mayBlock)
  }

  /// Answers from blocks and from the cache file, which this thread may wait for.
  private func answer(_ read: Read, _ segments: [ReplySegment], _ file: CacheFile?) {
    defer { release(segments) }
    let diskBytes = segments.reduce(0) { sum, segment in
      if case .disk(_, let count) = segment { sum + count } else { sum }
    }
    services.diskReads.scratch.withBuffer(of: diskBytes) { buffer in
      answer(read, segments, file, buffer, diskBytes)
    }
  }

  private func answer(
    _ read: Read, _ segments: [ReplySegment], _ file: CacheFile?,
    _ buffer: UnsafeMutableRawBufferPointer, _ diskBytes: Int
  ) {
    var position = 0
    var vectors: [iovec] = []
    for segment in segments {
      switch segment {
      case .memory(let block, let offset, let count):
        let base = services.pool.address(of: block) + offset
        vectors.append(iovec(iov_base: base, iov_len: count))
      case .disk(let offset, let count):
        let target = UnsafeMutableRawBufferPointer(rebasing: buffer[position..<position + count])
        let bytes = offset..<offset + UInt64(count)
        guard let file, services.diskReads.files.read(file.descriptor, bytes, into: target) else {
          return diskFailed(read, bytes, of: file)
        }
        vectors.append(iovec(iov_base: target.baseAddress, iov_len: count))
        position += count
      }
    }
    let (waiter, bytes) = (read.waiter, read.waiter.bytes.count)
    let source: ReadWait.Source = waiter.waitedForStore ? .store : diskBytes > 0 ? .disk : .memory
    object.count(bytes, from: source)
    complete(read, source, bytes: bytes) { parked, wait in
      vectors.withUnsafeBufferPointer { parked.complete(.data($0), wait) }
    }
  }

  /// The cache file did not give what it should hold: cut short, or a bad disk. Fetched again.
  private func diskFailed(_ read: Read, _ bytes: Range<UInt64>, of file: CacheFile?) {
    services.notices.diskTrouble("cannot read the cached copy of \(version.key)", .last)
    var read = read
    read.waiter.diskFailures += 1
    if let file {
      object.copyOnDisk.drop(
        Array(Geometry.pieces(covering: bytes)), of: file, refusing: read.waiter.diskFailures > 1)
    }
    advance(read, mayBlock: true)
  }

  /// Its time is over, wherever that is found out.
  private func timeOut(_ read: Read) {
    services.metrics.reads.timeouts.add()
    services.notices.log.error(
      "read of \(version.key) timed out after \(services.configuration.ioTimeout.seconds) s")
    fail(read, .ioError)
  }

  private func fail(_ read: Read, _ errno: Errno) {
    services.metrics.reads.failures.add()
    complete(read, .store, bytes: 0) { $0.complete(.failure(errno), $1) }
  }

  private func complete(
    _ read: Read, _ source: ReadWait.Source, bytes: Int, _ body: (any ParkedRead, ReadWait) -> Void
  ) {
    services.metrics.reads.parked.add(-1)
    body(
      read.parked,
      ReadWait(source: source, bytes: bytes, times: read.waiter.wait(until: .now)))
    endAdmission(of: read.waiter)
  }

  /// The read is over: what it needed may be evicted, and the next in line is admitted.
  private func endAdmission(of waiter: Waiter) {
    guard let ticket = waiter.ticket else { return }
    services.memory.hold(object.withMachine { $0.ended(ticket) }, of: object)
    services.admission.end(ticket)
    services.dispatcher.memoryMayBeFree()
    services.retireIfIdle(object)
  }
}
