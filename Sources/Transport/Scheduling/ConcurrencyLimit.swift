import Posix

/// How many requests a store takes at once, found out as TCP finds out a line: one more for each round
/// of successes, and a share less when the store asks for less. Pure.
struct ConcurrencyLimit: Sendable {
  /// What is left after a throttle.
  static let share = 0.7
  static let least = 4

  private let most: Double
  private var level: Double
  private var cutAt = Instant(nanoseconds: 0)

  init(most: Int) {
    self.most = Double(max(1, most))
    level = self.most
  }

  var limit: Int { Int(level) }

  /// A request was answered well while `running` were under way.
  mutating func succeeded(running: Int) {
    // What is not used is not known to be good.
    if level < most, Double(running) >= level / 2 { level = min(most, level + 1 / level) }
  }

  /// The store asked for less in answer to a request of `sentAt`. What was sent before the last cut says
  /// nothing of what the store thinks of this one.
  mutating func throttled(running: Int, sentAt: Instant, now: Instant) {
    guard sentAt >= cutAt else { return }
    cutAt = now
    let used = min(level, Double(max(running, 1)))
    level = min(level, max(used * Self.share, min(Double(Self.least), most)))
  }
}
