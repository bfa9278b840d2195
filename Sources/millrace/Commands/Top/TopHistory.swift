/// How the last samples of `millrace top` went: a second of a loop that reads in bursts says little. Pure.
struct TopHistory {
  /// Samples that are kept, a character each.
  static let most = 40
  private static let bars = Array("▁▂▃▄▅▆▇█")

  private var shares: [Double] = []

  /// `share`: of an interval, what the process that waited most waited, 0 to 1; nil: none has read.
  mutating func add(_ share: Double?) {
    shares.append(share ?? 0)
    if shares.count > Self.most { shares.removeFirst() }
  }

  /// Of at most `columns` characters, the last sample on the right; nil before there are two.
  func line(_ columns: Int) -> String? {
    let title = "longest wait "
    let shown = shares.suffix(max(0, columns - title.count - 12))
    guard shown.count > 1 else { return nil }
    let highest = Int(((shown.max() ?? 0) * 100).rounded())
    return title + String(shown.map(Self.bar)) + " max \(highest) %"
  }

  private static func bar(_ share: Double) -> Character {
    bars[min(max(Int(share * Double(bars.count)), 0), bars.count - 1)]
  }
}
