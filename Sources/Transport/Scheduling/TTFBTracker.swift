import Posix

/// How long answers let wait for their first byte, apart for small and large ones: what is usual, and
/// so what is slow (`HedgePolicy`) and what is worth giving up (`timeouts`). Pure.
struct TTFBTracker: Sendable {
  /// By the bytes that were asked for.
  enum SizeClass: Int, CaseIterable, Sendable {
    /// Heads, listings: no body of known length.
    case unknown
    case small
    case medium
    case large

    init(bytes: Int) {
      self =
        switch bytes {
        case ..<1: .unknown
        case ...(64 << 10): .small
        case ...(1 << 20): .medium
        default: .large
        }
    }
  }

  /// Waits remembered in a class, and how many are needed before it says anything.
  static let window = 256
  static let leastSamples = 32

  private struct Class {
    var waits: [Double] = []
    var next = 0
    var sinceSorted = 0
    /// 19 of 20 answers stayed within this, seconds.
    var usual: Double?

    mutating func record(_ wait: Double) {
      if waits.count < window { waits.append(wait) } else { waits[next] = wait }
      next = (next + 1) % window
      sinceSorted += 1
      guard waits.count >= leastSamples, usual == nil || sinceSorted >= leastSamples else { return }
      sinceSorted = 0
      usual = waits.sorted()[waits.count * 19 / 20]
    }
  }

  private var classes = [Class](repeating: Class(), count: SizeClass.allCases.count)

  mutating func answered(_ size: SizeClass, after wait: Duration) {
    classes[size.rawValue].record(wait.seconds)
  }

  /// What 19 of 20 answers of the class stayed within; `nil`: too little is known.
  func usual(_ size: SizeClass) -> Duration? {
    classes[size.rawValue].usual.map { .nanoseconds(Int64($0 * 1e9)) }
  }

  // MARK: Giving up

  /// A silence of so many usual waits is no answer coming late, but none coming.
  static let patience = 20
  /// Not below this: a lost packet or two are made good within it.
  static let leastPatience: Duration = .milliseconds(500)

  /// How long a silence of an attempt may last, where that is less than `limit`. Doubled with each
  /// failure in a row: a store that has become slow as a whole is still waited for.
  func timeout(_ size: SizeClass, failures: Int, limit: Duration) -> Duration {
    // Of the slowest class where this one is not known yet: nothing is given up too early.
    let known = usual(size) ?? SizeClass.allCases.compactMap(usual).max().map { $0 * 2 }
    guard let known else { return limit }
    let doublings = 1 << min(failures, 10)
    return min(limit, max(Self.leastPatience, known * Self.patience) * doublings)
  }
}
