/// The path of a hit: answered on the caller's thread, under one short lock or none, without an allocation.
import Glibc
import Metrics
import ObjectStore
import Synchronization

/// A read of one object, of bytes that are in memory or in the kernel's page cache; else it is parked.
struct ImmediateRead {
  let object: CachedObject

  private var services: EngineServices { object.services }

  /// Answers at once from memory or from pages that the kernel has, else parks the reader.
  func read(
    _ bytes: Range<UInt64>, scratch: UnsafeMutableRawBufferPointer, reply: (ReadReply) -> Void,
    park: () -> any ParkedRead
  ) {
    let whole = object.wholeDescriptor.load(ordering: .acquiring)
    var blocks: Int?
    if whole >= 0 {
      if readAtOnce(whole, bytes, scratch, reply) { return }
    } else if readUnderLock(bytes, scratch, reply, &blocks) {
      return
    }
    services.metrics.reads.parked.add(1)
    object.park(bytes, blocks: blocks, park())
  }

  /// `blocks`: what a read that is to be parked needs of memory.
  private func readUnderLock(
    _ bytes: Range<UInt64>, _ scratch: UnsafeMutableRawBufferPointer, _ reply: (ReadReply) -> Void,
    _ blocks: inout Int?
  ) -> Bool {
    let most = Geometry.pieces(covering: bytes).count
    let network = services.dispatcher.link
    return withUnsafeTemporaryAllocation(of: iovec.self, capacity: most) { vectors in
      withUnsafeTemporaryAllocation(of: BlockPool.Block.self, capacity: most) { retained in
        var used = 0
        var descriptor: CInt = -1
        let work: [CachedObject.Work]? = object.withState { state in
          let plan: ReadPlan
          switch state.machine.read(bytes, on: network) {
          case .memory(let planned):
            plan = planned
            used = retain(bytes, &state.machine, vectors, retained)
          case .disk(let planned):
            plan = planned
            descriptor = state.file?.descriptor ?? -1
          case .parks(let needed):
            blocks = needed
            return nil
          }
          return object.resolve(state.machine.actions(of: plan), &state)
        }
        guard let work else { return false }
        object.perform(work)
        guard used > 0 else {
          return descriptor >= 0 && readAtOnce(descriptor, bytes, scratch, reply)
        }
        object.count(bytes.count, from: .memory)
        reply(.data(UnsafeBufferPointer(rebasing: vectors[..<used])))
        for block in retained[..<used] { object.release(block) }
        let hasFinished =
          bytes.upperBound % UInt64(Geometry.pieceSize) == 0
          || bytes.upperBound == object.version.size
          || used > 1
        // A block that was read to its end may be evicted.
        if hasFinished { services.dispatcher.memoryMayBeFree() }
        return true
      }
    }
  }

  /// Retains the blocks of a read that is all in memory. Returns how many they are.
  private func retain(
    _ bytes: Range<UInt64>, _ machine: inout ObjectStateMachine,
    _ vectors: UnsafeMutableBufferPointer<iovec>,
    _ blocks: UnsafeMutableBufferPointer<BlockPool.Block>
  ) -> Int {
    var used = 0
    machine.blocks.forEachBlock(of: bytes) { block, offset, count in
      services.pool.retain(block)
      blocks.initializeElement(at: used, to: block)
      let base = services.pool.address(of: block) + offset
      vectors.initializeElement(at: used, to: iovec(iov_base: base, iov_len: count))
      used += 1
    }
    return used
  }

  /// True if the kernel had every byte in its page cache: a FUSE thread does not wait for a cold disk.
  private func readAtOnce(
    _ descriptor: CInt, _ bytes: Range<UInt64>, _ scratch: UnsafeMutableRawBufferPointer,
    _ reply: (ReadReply) -> Void
  ) -> Bool {
    guard services.diskReads.files.readNow(descriptor, bytes, into: scratch) else { return false }
    object.count(bytes.count, from: .disk)
    var vector = iovec(iov_base: scratch.baseAddress, iov_len: bytes.count)
    withUnsafePointer(to: &vector) { reply(.data(UnsafeBufferPointer(start: $0, count: 1))) }
    return true
  }
}
