import Glibc
import Posix
import Prefetch

/// One line on the terminal that is written over and over.
final class ProgressBar {
  private static let width = 20

  func show(_ report: JobReport) {
    let line = "\r\u{1B}[K" + Self.text(report)
    Output.screen(line, to: STDERR_FILENO)
  }

  func clear() { Output.screen("\r\u{1B}[K", to: STDERR_FILENO) }

  /// "[########------------]  40 %  812 of 2,000 files  88 of 214 MiB  91 MiB/s  1 s left"
  static func text(_ report: JobReport) -> String {
    let rate = Double(report.bytesFetched) / max(report.seconds, 0.001)
    var parts: [String] = []
    if report.isCounted {
      let share = report.bytes == 0 ? 1 : Double(report.bytesDone) / Double(report.bytes)
      let full = min(width, Int(saturating: share * Double(width)))
      parts.append(
        "[" + String(repeating: "#", count: full) + String(repeating: "-", count: width - full)
          + "]")
      parts.append("\(Int(saturating: share * 100)) %")
    }
    let more = report.isCounted ? "" : " found so far"
    parts.append("\(counted(report.filesDone, "file")) of \(counted(report.files, "file"))\(more)")
    parts.append("\(ByteSize.show(report.bytesDone)) of \(ByteSize.show(report.bytes))")
    parts.append("\(ByteSize.show(UInt64(saturating: rate)))/s")
    if report.isCounted, report.bytesDone > 0, report.state == .running {
      let pace = Double(report.bytesDone) / max(report.seconds, 0.001)
      parts.append(
        "\(StatsTable.uptime(Double(report.bytes.subtractingSaturated(report.bytesDone)) / pace)) left"
      )
    }
    if report.failures > 0 { parts.append("\(report.failures) failed") }
    return parts.joined(separator: "  ")
  }
}
