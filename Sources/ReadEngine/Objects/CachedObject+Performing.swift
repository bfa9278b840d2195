/// What the state machine of an object decided is done, no lock held.
import Logging
import Metrics
import ObjectStore
import Posix

extension CachedObject {
  /// `mayBlock`: this thread may wait for a disk. `failure`: of the fetch that was the event.
  func perform(_ works: [Work], mayBlock: Bool = false, failure: StoreError? = nil) {
    for work in works { perform(work, mayBlock, failure) }
  }

  private func perform(_ work: Work, _ mayBlock: Bool, _ failure: StoreError?) {
    switch work.action {
    case .reply, .verify, .fail, .timeOut, .askForMemory:
      ParkedReads(object: self).advance(work, mayBlock)
    case .waitsForMemory(let ticket):
      if services.admission.isAdmitted(ticket) { wasAdmitted(ticket) }
    case .request: services.dispatcher.submit(work.fetches, promoting: work.promoted)
    case .loadSegments(let segments, let copy):
      copyOnDisk.loadOnWorker(segments, of: copy, work.file)
    case .release(let blocks): for block in blocks { services.pool.release(block) }
    case .hold(let pieces): services.memory.hold(pieces, of: self)
    case .memoryMayBeFree(let always):
      if always { services.dispatcher.pump() } else { services.dispatcher.memoryMayBeFree() }
    case .write: services.writer?.enqueue(self)
    case .removeCopy: connection.withLock { _ in copyOnDisk.remove() }
    case .report: if let failure { report(failure) }
    case .becameStale: services.notices.changed(version)
    }
  }

  private func report(_ error: StoreError) {
    services.metrics.store.errors.add()
    if error.kind != .cancelled { services.notices.log.error("read failed: \(error)") }
  }

  /// The first in line was admitted: it asks for what it lacks.
  func wasAdmitted(_ ticket: ReadAdmission.Ticket) {
    let terms = terms
    handle { $0.admitted(ticket, terms) }
  }
}
