import Posix

/// How files come back: how far apart, in which epoch, and how much of them there is.
///
/// Pure. It is notified of every open and follows a sample of the files, chosen by their hash, so that it
/// stays small whatever is read (spatial sampling: Waldspurger et al., FAST '15). Time is counted in opens:
/// a trainer that pauses changes nothing.
package struct ReuseMeter {
  private struct Seen {
    var lastOpen: Int64
    /// In which it was opened last.
    var epoch: Int32
    var bytes: UInt64
  }

  /// Files and bytes, estimated.
  package struct Amount: Sendable, Equatable {
    package var files = 0
    package var bytes: UInt64 = 0
  }

  /// Files followed at most.
  private static let limit = 8192
  /// A reuse counts for the longest distance until at least this many came after it, over a quarter of that
  /// distance at least: a small set that is read a few times in between does not make the rest look dead.
  private static let window = 512

  /// So many opens apart a file is only looked at twice, by each of a few workers.
  private static let secondLook: Int64 = 16

  /// Opens so far: the clock of all ages.
  package private(set) var opens: Int64 = 0
  /// Passes over the files begun, 0 before the first open.
  package private(set) var epoch = 0

  private var shift = 0
  private var seen: [UInt64: Seen] = [:]
  /// Of the epoch that runs, of the next where it shows already, and of the last whole one; sampled.
  private var now = Amount()
  private var next = Amount()
  private var last: Amount?
  private var longest = Longest()

  private struct Longest {
    var older: Int64 = 0
    var newer: Int64 = 0
    /// Reuses that `newer` is of, and the first of them.
    var count = 0
    var since: Int64 = 0
  }

  package init() {}

  /// Files and bytes of an epoch: of the last whole one, else as far as the first has come.
  package var workingSet: Amount {
    let amount = last ?? now
    let scale = 1 << min(shift, 62)
    return Amount(
      files: amount.files.multipliedSaturated(by: scale),
      bytes: amount.bytes.multipliedSaturated(by: UInt64(scale)))
  }

  /// The most opens between two of the same file, of late; 0 while none came back.
  package var longestReuse: Int64 { max(longest.older, longest.newer) }

  /// Opens after which a file that was not opened is dead, 0 while none came back. An eighth more than the
  /// longest of late: the longest is that of a sample, and data grows. As the first come back, the longest are
  /// still to come: up to two epochs, in another order each time.
  package var deadAfter: Int64 {
    longest.older == 0 ? 2 * longestReuse : longestReuse + longestReuse / 8
  }

  /// Takes note of an open. `hash`: of the file, evenly spread.
  package mutating func opened(_ hash: UInt64, bytes: UInt64) {
    opens += 1
    if epoch == 0 { epoch = 1 }
    guard isSampled(hash) else { return }
    guard let before = seen[hash] else {
      seen[hash] = Seen(lastOpen: opens, epoch: Int32(epoch), bytes: bytes)
      now.files += 1
      now.bytes.addSaturated(bytes)
      if seen.count > Self.limit { thin() }
      return
    }
    let distance = opens - before.lastOpen
    seen[hash]!.lastOpen = opens
    if distance > Self.secondLook { noteReuse(distance) }
    if before.epoch < Int32(epoch) {
      seen[hash]!.epoch = Int32(epoch)
      now.files += 1
      now.bytes.addSaturated(bytes)
    } else if before.epoch == Int32(epoch),
      distance > max(Self.secondLook, Int64(now.files << shift) / 8)
    {
      // Again, and not only a second look at what was just read: the next pass has begun.
      seen[hash]!.epoch = Int32(epoch) + 1
      next.files += 1
      next.bytes.addSaturated(bytes)
      if next.files > max(1, now.files / 20) { endEpoch() }
    }
  }

  private mutating func endEpoch() {
    epoch += 1
    last = now
    now = next
    next = Amount()
  }

  private mutating func noteReuse(_ distance: Int64) {
    if longest.count == 0 { longest.since = opens }
    longest.newer = max(longest.newer, distance)
    longest.count += 1
    if longest.count >= Self.window, opens - longest.since >= longestReuse / 4 {
      longest = Longest(older: longest.newer)
    }
  }

  private func isSampled(_ hash: UInt64) -> Bool { hash & ((1 << UInt64(shift)) - 1) == 0 }

  /// Forgets what was not seen for two epochs; if that is not enough, follows half as many.
  private mutating func thin() {
    let oldest = Int32(epoch) - 1
    seen = seen.filter { $0.value.epoch >= oldest }
    guard seen.count > Self.limit * 3 / 4 else { return }
    shift += 1
    seen = seen.filter { isSampled($0.key) }
    now = halved(now)
    next = halved(next)
    last = last.map(halved)
  }

  private func halved(_ amount: Amount) -> Amount {
    Amount(files: amount.files / 2, bytes: amount.bytes / 2)
  }
}
