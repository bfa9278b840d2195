/// Finds sequences among the reads of one object, by position and not by file handle: several
/// threads, processes, descriptors or mappings may read several sequences at once.
///
/// Pure: a read goes in, the range that is worth having planned comes out. What is read ahead stays
/// in proportion to what the sequence has read, so that one that ends early has cost little.
struct StreamTracker {
  struct Limits {
    /// Sequences remembered in one object; the one unused for longest is forgotten first.
    var maxStreams = 16
    /// A read this far before or after the expected position still belongs to its sequence: the
    /// kernel's own read-ahead is asynchronous and its requests overtake each other. Bytes.
    var slack: UInt64 = 2 << 20
    /// A sequence has proven itself when it has come this far, bytes, in more than one read unless it
    /// began at the object's start: a record that is read at random through a mapping comes as a
    /// sequence of page faults too.
    var proof: UInt64 = 384 << 10
    /// Bytes ahead for each that was read, for a sequence that began at the object's start, which is
    /// how whole files are read.
    var growthFromStart: UInt64 = 8
    /// One that began elsewhere is a column, an array, a tensor, and ends with it. What is read ahead of it, by
    /// the kernel and by us, is this part of what it has read...
    var shareElsewhere: UInt64 = 10
    /// ... and an ever larger one up to this far, bytes, where it is as much as it has read: the further it
    /// came, the likelier it is the rest of the object. An eighth at 64 MiB.
    var longRun: UInt64 = 512 << 20
    /// From this far on, bytes, a sequence from the start has at least what the line brings in one wait
    /// for a first byte. Further than the kernel goes for a program that reads 100 KB of a file's head
    /// (416 KiB): one that looks at heads must not fetch a far line's worth for each.
    var pipeProof: UInt64 = 1 << 20
  }

  private struct Stream {
    /// Where its first read began.
    var start: UInt64
    /// Where the next read is expected: the highest end seen.
    var next: UInt64
    var reads = 1
    /// Up to here everything was planned: it is not looked at again.
    var planned: UInt64 = 0
    let began: UInt64
    var lastUse: UInt64

    var run: UInt64 { next - start }
  }

  /// What a read tells of its sequence.
  struct Outlook: Equatable {
    /// How far from the end of the read it is worth reading ahead, bytes; 0: it continues no sequence.
    var ahead: UInt64
    /// Up to here that was planned before.
    var planned: UInt64
  }

  private let limits: Limits
  private var streams: [Stream] = []
  private var clock: UInt64 = 0
  /// The stream that the last read belongs to.
  private var current = 0

  init(limits: Limits = Limits()) { self.limits = limits }

  /// The furthest end of a read that is remembered.
  var furthest: UInt64 { streams.map(\.next).max() ?? 0 }

  /// Notes a read of `range` in an object of `size` bytes. `maxWindow`: worth reading ahead at most, bytes.
  /// `pipe`: bytes that the line brings while one waits for a first byte.
  mutating func note(
    _ range: Range<UInt64>, size: UInt64, maxWindow: UInt64, pipe: UInt64 = 0
  ) -> Outlook {
    clock += 1
    let stream = follow(range)
    guard isProven(stream) else { return Outlook(ahead: 0, planned: 0) }
    let left = size - min(size, range.upperBound)
    let ahead =
      stream.start == 0 && !isReadFurtherOn(than: stream)
      ? aheadFromStart(stream, pipe: pipe) : aheadElsewhere(stream, asked: UInt64(range.count))
    return Outlook(ahead: min(ahead, maxWindow, left), planned: stream.planned)
  }

  /// A read went further on, to a footer or a directory: what is read from the start is its first column
  /// as likely as all of it.
  private func isReadFurtherOn(than stream: Stream) -> Bool {
    streams.contains { $0.start > stream.next + limits.slack }
  }

  /// For a sequence from the object's start. One read may be the header's alone, which a mapping asks for as
  /// widely as the kernel reads ahead.
  private func aheadFromStart(_ stream: Stream, pipe: UInt64) -> UInt64 {
    if stream.reads == 1 { return stream.run }
    return max(stream.run * limits.growthFromStart, stream.run >= limits.pipeProof ? pipe : 0)
  }

  /// For a sequence that may end anywhere: to where its like ended, else in proportion. The kernel reads ahead
  /// too, by up to twice what it asks for at once, which counts.
  private func aheadElsewhere(_ stream: Stream, asked: UInt64) -> UInt64 {
    let run = stream.run
    let usual = usualRun(before: stream)
    if usual >= run { return min(usual - run, run * limits.growthFromStart) }
    let grown = UInt64(Double(run) * min(1, Double(run) / Double(limits.longRun)))
    let proportion = max(run / limits.shareElsewhere, grown)
    return proportion - min(proportion, 2 * asked)
  }

  /// The least that a sequence came to that was over before this one began; 0: none was.
  private func usualRun(before stream: Stream) -> UInt64 {
    var least: UInt64 = 0
    for other in streams where other.lastUse < stream.began && isProven(other) {
      least = least == 0 ? other.run : min(least, other.run)
    }
    return least
  }

  /// Everything from the last read's end up to `position` is here, on its way or waiting.
  mutating func planned(upTo position: UInt64) {
    guard streams.indices.contains(current) else { return }
    streams[current].planned = max(streams[current].planned, position)
  }

  /// Something that was planned will not come, or has gone: it is to be looked at again.
  mutating func forgetPlans() {
    for index in streams.indices { streams[index].planned = 0 }
  }

  private func isProven(_ stream: Stream) -> Bool {
    (stream.reads > 1 || stream.start == 0) && stream.run >= limits.proof
  }

  /// The stream that the read belongs to, or begins.
  private mutating func follow(_ range: Range<UInt64>) -> Stream {
    guard let index = stream(at: range) else { return start(at: range) }
    current = index
    streams[index].lastUse = clock
    // A read in the slack that does not go on is a repetition, not a proof.
    if range.upperBound > streams[index].next {
      streams[index].next = range.upperBound
      streams[index].reads += 1
    }
    return streams[index]
  }

  private func stream(at range: Range<UInt64>) -> Int? {
    var best: Int?
    var bestDistance = UInt64.max
    for (index, stream) in streams.enumerated() {
      // An unproven position has only the reads that follow on directly, or overtook one.
      let slack = isProven(stream) ? limits.slack : min(limits.slack, UInt64(range.count))
      let start = range.lowerBound
      let distance = start > stream.next ? start - stream.next : stream.next - start
      if distance <= slack, distance < bestDistance {
        best = index
        bestDistance = distance
      }
    }
    return best
  }

  private mutating func start(at range: Range<UInt64>) -> Stream {
    let stream = Stream(
      start: range.lowerBound, next: range.upperBound, began: clock, lastUse: clock)
    if streams.count < limits.maxStreams {
      streams.append(stream)
      current = streams.count - 1
    } else {
      current = streams.indices.min { streams[$0].lastUse < streams[$1].lastUse }!
      streams[current] = stream
    }
    return stream
  }
}
