/// The memory tier's memory: blocks of one piece each, from one reserved region of fixed size, so
/// that the pool can never grow past its limit.
///
/// A fetch is promised its blocks before it is sent, so that arriving bytes always have a place, and
/// takes each as it is reached: a range on its way holds no memory for what is still to come.
///
/// A block is counted: the piece that owns it holds one reference, every reply that reads from it
/// another. The block last freed is given out first: its pages are still warm, and a fresh page
/// costs six times a recycled one.
import Glibc
import Metrics
import Posix
import Synchronization

final class BlockPool: @unchecked Sendable {
  typealias Block = Int32

  let capacity: Int
  private let base: UnsafeMutableRawPointer
  private let references: UnsafeMutablePointer<Atomic<UInt32>>
  private let state: Lock<State>
  private let gauge: Gauge

  private struct State {
    /// Used before and free now; the last is given out next.
    var recycled: [Block] = []
    /// Blocks from here on were never used.
    var fresh: Block = 0
    /// Free blocks that are set aside for later calls of `take`.
    var promised = 0
  }

  /// `bytes`: rounded down to whole blocks, at least 16 of them.
  init(bytes: Int, gauge: Gauge) throws(EngineError) {
    capacity = max(bytes / Geometry.pieceSize, 16)
    self.gauge = gauge
    let length = capacity * Geometry.pieceSize
    guard
      let region = mmap(
        nil, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0),
      region != MAP_FAILED
    else {
      throw EngineError("cannot reserve \(length >> 20) MiB of memory; lower --memory-limit")
    }
    base = region
    references = .allocate(capacity: capacity)
    for index in 0..<capacity { (references + index).initialize(to: Atomic(0)) }
    state = Lock(State())
  }

  deinit {
    munmap(base, capacity * Geometry.pieceSize)
    references.deinitialize(count: capacity)
    references.deallocate()
  }

  /// Blocks that can be promised now.
  var available: Int { state.withLock { available(in: $0) } }

  private func available(in state: State) -> Int {
    state.recycled.count + capacity - Int(state.fresh) - state.promised
  }

  /// Sets `count` blocks aside for later calls of `take`. False, and none, if that would leave less
  /// than `spare` to others.
  func promise(_ count: Int, sparing spare: Int = 0) -> Bool {
    state.withLock { state in
      guard available(in: state) >= count + spare else { return false }
      state.promised += count
      return true
    }
  }

  /// Sets up to `count` blocks aside, and leaves at least `spare` to others. Returns how many.
  func promise(upTo count: Int, sparing spare: Int) -> Int {
    state.withLock { state in
      let given = max(0, min(count, available(in: state) - spare))
      state.promised += given
      return given
    }
  }

  /// Gives back what was promised and not taken.
  func takeBack(promised count: Int) {
    if count > 0 { state.withLock { $0.promised -= count } }
  }

  /// A promised block, with one reference.
  func take() -> Block {
    let block: Block = state.withLock { state in
      precondition(state.promised > 0, "a block was allocated without a reservation")
      state.promised -= 1
      if let block = state.recycled.popLast() { return block }
      state.fresh += 1
      return state.fresh - 1
    }
    references[Int(block)].store(1, ordering: .relaxed)
    gauge.add(Int64(Geometry.pieceSize))
    return block
  }

  func retain(_ block: Block) { references[Int(block)].add(1, ordering: .relaxed) }

  /// True if that was the last reference and the block is free now.
  @discardableResult
  func release(_ block: Block) -> Bool {
    let left = references[Int(block)].subtract(1, ordering: .acquiringAndReleasing).newValue
    guard left == 0 else { return false }
    state.withLock { $0.recycled.append(block) }
    gauge.add(-Int64(Geometry.pieceSize))
    return true
  }

  func address(of block: Block) -> UnsafeMutableRawPointer {
    base + Int(block) * Geometry.pieceSize
  }

  /// Gives the memory of free blocks back to the system, all but `keeping` bytes of them. The kernel
  /// may be slow at it, so the blocks are taken out of the pool meanwhile.
  func trim(keeping: Int) {
    let taken: [Block] = state.withLock { state in
      // What is promised has to be there when it is taken.
      let kept = keeping / Geometry.pieceSize + state.promised
      let excess = max(0, state.recycled.count - kept)
      let blocks = Array(state.recycled.prefix(excess))
      state.recycled.removeFirst(excess)
      return blocks
    }
    guard !taken.isEmpty else { return }
    for block in taken { madvise(address(of: block), Geometry.pieceSize, MADV_DONTNEED) }
    state.withLock { $0.recycled.insert(contentsOf: taken, at: 0) }
  }
}
