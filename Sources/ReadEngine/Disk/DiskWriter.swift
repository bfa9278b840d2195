import DequeModule
import Logging
/// Puts arrived pieces on disk, off the reader's way: one thread, batches that grow when it lags.
///
/// Its queue holds each object at most once, and what it has yet to write holds blocks of the pool,
/// so it is bounded by the pool.
import Metrics
import ObjectStore
import Posix
import SystemPackage

final class DiskWriter: Sendable {
  private struct State {
    var queue: Deque<CachedObject> = []
    var isWriting = false
    var isStopping = false
  }

  let disk: DiskTier
  private let monitor = Monitor(State())
  private let thread = Lock<ServiceThread?>(nil)

  /// What a new sidecar takes besides its records, bytes.
  static let sidecarHead: UInt64 = 8192
  /// Bytes of an object for each byte of its records, at the least.
  private static let bytesPerRecordByte: UInt64 = 4096

  init(disk: DiskTier) throws(EngineError) {
    self.disk = disk
    let thread = ServiceThread(named: "disk-writer") { [self] in run() }
    self.thread.withLock { $0 = thread }
    if let reason = thread.ensure() {
      thread.stop()
      throw .noThread("that writes the cache", reason)
    }
  }

  func enqueue(_ object: CachedObject) {
    monitor.signal(all: true) { $0.queue.append(object) }
  }

  /// Writes what waits, then ends.
  func shutdown() {
    monitor.signal(all: true) { $0.isStopping = true }
    thread.withLock { $0 }?.stop()?.join()
  }

  private func run() {
    while true {
      let object: CachedObject?? = monitor.wait { state in
        if let object = state.queue.popFirst() { return .some(object) }
        return state.isStopping ? .some(nil) : nil
      }
      guard let object, let object else { return }
      write(object)
    }
  }

  private func write(_ object: CachedObject) {
    while let batch = object.copyOnDisk.nextBatch() {
      let bytes = batch.bytes.reduce(0) { $0 + UInt64($1.count) }
      let head = batch.file == nil ? Self.sidecarHead : 0
      guard disk.holdsFile(ofSize: object.version.size), reserve(bytes + head, for: object) else {
        object.copyOnDisk.couldNotWrite(batch)
        continue
      }
      do throws(Errno) {
        let file = try put(batch, of: object)
        object.services.metrics.cache.bytesWritten.add(bytes)
        if object.copyOnDisk.wrote(batch, to: file) {
          disk.account(object.id, bytes: file.allocatedBytes)
        } else {
          if batch.file == nil { CacheFile.remove(object.id, in: disk.folder) }
          disk.account(object.id, bytes: 0)
        }
      } catch {
        if error == .fileTooLarge {
          disk.refused(fileOfSize: object.version.size)
        } else {
          object.services.notices.diskTrouble("cannot write to the cache", error)
        }
        // What was made for this batch is of no use, and nothing else would find it.
        if batch.file == nil { CacheFile.remove(object.id, in: disk.folder) }
        // What was reserved was not taken, or not all of it.
        disk.account(object.id, bytes: batch.file?.allocatedBytes ?? 0)
        object.copyOnDisk.couldNotWrite(batch)
      }
    }
    disk.wrote(object.id)
    object.services.retireIfIdle(object)
  }

  /// No more than makes the file whole: blocks that were given to a range on its way are counted already.
  private func reserve(_ bytes: UInt64, for object: CachedObject) -> Bool {
    let size = object.version.size
    let whole = size + size / Self.bytesPerRecordByte + 2 * Self.sidecarHead
    let missing = whole - min(whole, disk.bytes(of: object.id))
    return disk.reserve(
      min(bytes, missing), for: object.id,
      deadAfter: object.services.reuse.withLock { $0.deadAfter })
  }

  private func put(
    _ batch: WriteBatch, of object: CachedObject
  ) throws(Errno) -> CacheFile {
    let folder = disk.folder
    let isSmall = object.version.size <= Geometry.smallObjectLimit
    if isSmall, folder.keepsAttributes {
      return try CacheFile.store(object.version, object.id, in: folder, pieces: batch.bytes)
    }
    let file: CacheFile
    if let existing = batch.file {
      file = existing
    } else {
      file = try CacheFile.create(object.version, object.id, in: folder)
    }
    for range in batch.plan.coming {
      let bytes = Geometry.bytes(ofPieces: range, size: object.version.size)
      // Space for the batch is reserved already.
      let counted = zip(batch.pieces, batch.bytes).reduce(0) { sum, piece in
        range.contains(piece.0) ? sum + piece.1.count : sum
      }
      if reserve(UInt64(bytes.count - counted), for: object) { file.allocate(bytes) }
    }
    var start = 0
    while start < batch.pieces.count {
      var end = start + 1
      while end < batch.pieces.count, batch.pieces[end] == batch.pieces[end - 1] + 1 { end += 1 }
      try file.write(
        Array(batch.bytes[start..<end]), from: batch.pieces[start], stamp: folder.generation)
      start = end
    }
    return file
  }
}

/// Pieces that are written in one go, and where.
struct WriteBatch {
  var plan: BatchPlan
  var bytes: [UnsafeRawBufferPointer]
  /// Nil: a new one.
  var file: CacheFile?
  var pieces: [Int] { plan.pieces }
}
