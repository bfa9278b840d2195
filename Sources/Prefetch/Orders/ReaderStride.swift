/// Whether the readers of this mount take each n-th line of an order, as a rank of several that share one does.
/// Pure.
///
/// It is the greatest common divisor of the distances between opened lines: one open between them ends the guess.
struct ReaderStride {
  private struct Guess {
    var first = 0
    var step = 0
    var count = 0

    mutating func opened(_ line: Int) {
      if count == 0 { first = line }
      count += 1
      var (a, b) = (step, abs(line - first))
      while b > 0 { (a, b) = (b, a % b) }
      step = a
    }
  }

  /// Opens that a guess takes: by chance one in 2^16 orders seems to be read in steps of two.
  private static let proof = 16
  /// Opens after which it is made anew: readers may change in the middle of an order.
  private static let lifetime = 256

  private var current = Guess()
  private var next = Guess()

  mutating func opened(_ line: Int) {
    current.opened(line)
    next.opened(line)
    if next.count >= Self.lifetime {
      current = next
      next = Guess()
    }
  }

  /// Lines from one that is read to the next; 1: nothing is known.
  var step: Int { current.count >= Self.proof ? max(1, current.step) : 1 }

  /// Whether a line is likely to be opened.
  func includes(_ line: Int) -> Bool {
    step == 1 || (line - current.first) % step == 0
  }
}
