import Glibc
import Prefetch

/// The progress of a job on standard error: on a terminal one line that is written over and over, elsewhere a line
/// each 10 seconds, as a batch job's log wants it.
final class ProgressBar {
  /// Seconds between two lines of a log.
  static let logInterval = 10.0

  private let isTerminal = isatty(STDERR_FILENO) != 0
  private var text = ProgressText()
  private var log = ProgressLog()

  func show(_ report: JobReport) {
    text.take(report)
    if isTerminal {
      let columns = (Terminal.size(of: STDERR_FILENO)?.columns ?? 80) - 1
      Output.screen("\r\u{1B}[K" + text.line(report, columns: columns), to: STDERR_FILENO)
    } else if log.isDue(report) {
      Output.screen("millrace: \(text.sentence(report))\n", to: STDERR_FILENO)
    }
  }

  func clear() {
    if isTerminal { Output.screen("\r\u{1B}[K", to: STDERR_FILENO) }
  }
}

/// When a line of a log is due, by the job's own time.
struct ProgressLog {
  private var next = ProgressBar.logInterval

  mutating func isDue(_ report: JobReport) -> Bool {
    guard report.state == .running, report.seconds >= next else { return false }
    next = ((report.seconds / ProgressBar.logInterval).rounded(.down) + 1) * ProgressBar.logInterval
    return true
  }
}
