/// Finds sequences among the reads of one object, by position and not by file handle: several
/// threads, processes, descriptors or mappings may read several sequences at once.
///
/// Pure: a read goes in, the range that is worth having planned comes out.
struct StreamTracker {
  struct Limits {
    /// Sequences remembered in one object; the one unused for longest is forgotten first.
    var maxStreams = 16
    /// A read this far before or after the expected position still belongs to its sequence: the
    /// kernel's own read-ahead is asynchronous and its requests overtake each other. Bytes.
    var slack: UInt64 = 2 << 20
    /// The first window of a sequence that has proven itself by a second read, bytes.
    var firstWindow: UInt64 = 2 << 20
    /// No window grows past this, bytes.
    var maxWindow: UInt64 = 64 << 20
  }

  private struct Stream {
    /// Where the next read is expected: the highest end seen.
    var next: UInt64
    /// Bytes ahead of `next` that are worth having; 0 until a second read proves the sequence.
    var window: UInt64
    /// The last end at which the window grew.
    var grownAt: UInt64
    var lastUse: UInt64
  }

  private let limits: Limits
  private var streams: [Stream] = []
  private var clock: UInt64 = 0

  init(limits: Limits = Limits()) { self.limits = limits }

  /// Notes a read of `range` in an object of `size` bytes. Returns how far from the end of the read it
  /// is worth reading ahead, bytes: 0 for a read that continues no sequence.
  mutating func note(_ range: Range<UInt64>, size: UInt64) -> UInt64 {
    clock += 1
    guard let index = stream(at: range) else {
      start(at: range.upperBound)
      return 0
    }
    streams[index].lastUse = clock
    var stream = streams[index]
    if stream.window == 0 {
      // A second read in the slack that does not go on is a repetition, not a proof.
      guard range.upperBound > stream.next else { return 0 }
      stream.window = limits.firstWindow
      stream.grownAt = range.upperBound
    } else if range.upperBound >= stream.grownAt + stream.window / 2 {
      // Doubled once the reader has used half of what the window was: it pays in steps.
      stream.window = min(stream.window * 2, limits.maxWindow)
      stream.grownAt = range.upperBound
    }
    stream.next = max(stream.next, range.upperBound)
    streams[index] = stream
    return min(stream.window, size - min(size, range.upperBound))
  }

  private func stream(at range: Range<UInt64>) -> Int? {
    var best: Int?
    var bestDistance = UInt64.max
    for (index, stream) in streams.enumerated() {
      // An unproven position has only the reads that follow on directly.
      let slack = stream.window == 0 ? min(limits.slack, UInt64(Geometry.pieceSize)) : limits.slack
      let start = range.lowerBound
      let distance = start > stream.next ? start - stream.next : stream.next - start
      if distance <= slack, distance < bestDistance {
        best = index
        bestDistance = distance
      }
    }
    return best
  }

  private mutating func start(at position: UInt64) {
    let stream = Stream(next: position, window: 0, grownAt: position, lastUse: clock)
    if streams.count < limits.maxStreams {
      streams.append(stream)
    } else {
      let oldest = streams.indices.min { streams[$0].lastUse < streams[$1].lastUse }!
      streams[oldest] = stream
    }
  }
}
