/// How many fetches of fill may be under way, so that those who wait do not wait longer for it.
///
/// Compares what demand waits for a first byte while fill is under way with what it waits while little
/// is. Pure: samples in, a limit out.
struct FillPace {
  /// What fill may add to the wait of a reader: a twentieth, and what a scheduler's turn takes, seconds.
  static let tolerance = 1.05
  static let grain = 0.001
  /// Under way at most where nothing was found out yet, and at least, ever.
  static let least = 4
  /// Samples on each side before they are compared.
  static let proof = 24

  private(set) var limit: Int
  private let most: Int
  private var quiet = Median()
  private var busy = Median()

  init(most: Int) {
    self.most = most
    limit = most
  }

  /// A reader waited `firstByte` seconds for the first byte of what it asked for.
  mutating func noteDemand(firstByte: Double, fillInFlight: Int) {
    if fillInFlight <= Self.least {
      quiet.add(firstByte)
    } else {
      busy.add(firstByte)
    }
    guard busy.count >= Self.proof, quiet.count >= Self.proof else { return }
    if busy.value > quiet.value * Self.tolerance + Self.grain {
      limit = max(Self.least, limit * 3 / 4)
    } else {
      limit = min(most, limit + max(1, limit / 8))
    }
    // What was found out holds for the limit that it was found out with.
    busy = Median()
  }

  /// A running median: steps towards each sample, by less the more there were.
  private struct Median {
    private(set) var value = 0.0
    private(set) var count = 0

    mutating func add(_ sample: Double) {
      count += 1
      if count == 1 { value = sample }
      let step = max(value, 1e-6) / Double(min(count + 1, 64))
      if sample > value { value += min(step, sample - value) }
      if sample < value { value -= min(step, value - sample) }
    }
  }
}
