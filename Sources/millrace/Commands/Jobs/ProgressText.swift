import Posix
import Prefetch

/// How far a warm-up is, in one line of a given width. Pure: time is that of the reports.
struct ProgressText {
  /// The rate is of so many seconds.
  static let window = 5.0
  private static let barWidths = 6...20

  private var samples: [(seconds: Double, fetched: UInt64)] = []

  /// Bytes a second from the store in the last seconds; of the whole job while nothing arrived in them.
  private(set) var rate = 0.0

  mutating func take(_ report: JobReport) {
    samples.append((report.seconds, report.bytesFetched))
    // The last sample before the window stays, as its begin.
    while samples.count > 2, samples[1].seconds <= report.seconds - Self.window {
      samples.removeFirst()
    }
    let first = samples.count > 1 ? samples[0] : (seconds: 0, fetched: 0)
    let fetched = report.bytesFetched.subtractingSaturated(first.fetched)
    rate = Double(fetched) / max(report.seconds - first.seconds, 0.001)
    if fetched == 0 { rate = Double(report.bytesFetched) / max(report.seconds, 0.001) }
  }

  /// "[########--------]  40 %  812/2,000 files  88 of 214 MiB  91 MiB/s  1 s left", cut to the width.
  func line(_ report: JobReport, columns: Int) -> String {
    var parts = self.parts(report)
    func length() -> Int { parts.reduce(0) { $0 + $1.text.count + 2 } - 2 }
    for kind in [Part.Kind.cached, .bytes] where length() > columns {
      parts.removeAll { $0.kind == kind }
    }
    let texts = parts.map(\.text)
    let width = min(columns - length() - 4, Self.barWidths.upperBound)
    let hasBar = report.isTotalFinal && width >= Self.barWidths.lowerBound
    let bar = hasBar ? [Self.bar(Self.share(report), width)] : []
    return String((bar + texts).joined(separator: "  ").prefix(columns))
  }

  /// The same as a sentence for a log: "40 %, 812/2,000 files, 88 of 214 MiB, ...".
  func sentence(_ report: JobReport) -> String {
    parts(report).map(\.text).joined(separator: ", ")
  }

  private struct Part {
    /// What a narrow line leaves out.
    enum Kind { case needed, bytes, cached }
    var kind = Kind.needed
    var text: String
  }

  private func parts(_ report: JobReport) -> [Part] {
    var parts: [Part] = []
    func add(_ text: String, _ kind: Part.Kind = .needed) {
      parts.append(Part(kind: kind, text: text))
    }
    // 100 % is the end.
    if report.isTotalFinal {
      add(Figure.percent((Self.share(report) * 100).rounded(.down) / 100))
    }
    let more = report.isTotalFinal ? "" : " found so far"
    add("\(Figure.count(report.filesDone))/\(Figure.count(report.files)) files\(more)")
    add("\(ByteSize.show(report.bytesDone)) of \(ByteSize.show(report.bytes))", .bytes)
    let cached = report.bytesDone.subtractingSaturated(report.bytesFetched)
    if cached > 0 { add("\(ByteSize.show(cached)) already cached", .cached) }
    add("\(ByteSize.show(UInt64(saturating: rate)))/s")
    if let left = secondsLeft(report) { add("\(Figure.uptime(left.rounded(.up))) left") }
    if report.failures > 0 { add("\(Figure.count(report.failures)) failed") }
    return parts
  }

  /// As if all of the rest came from the store; nil where nothing says how fast that is.
  func secondsLeft(_ report: JobReport) -> Double? {
    guard report.isTotalFinal, report.state == .running, rate > 0 else { return nil }
    return Double(report.bytes.subtractingSaturated(report.bytesDone)) / rate
  }

  private static func share(_ report: JobReport) -> Double {
    report.bytes == 0 ? 1 : min(Double(report.bytesDone) / Double(report.bytes), 1)
  }

  private static func bar(_ share: Double, _ width: Int) -> String {
    let full = min(width, Int(saturating: share * Double(width)))
    return "[" + String(repeating: "#", count: full) + String(repeating: "-", count: width - full)
      + "]"
  }
}
