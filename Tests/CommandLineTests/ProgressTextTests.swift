import Testing

@testable import Prefetch
@testable import millrace

@Suite struct ProgressTextTests {
  private func report(
    at seconds: Double, done: UInt64, fetched: UInt64, of all: UInt64 = 1000 << 20
  ) -> JobReport {
    var report = JobReport(id: "1", action: .warm)
    report.seconds = seconds
    (report.files, report.filesDone) = (2000, Int(done >> 20))
    (report.bytes, report.bytesDone, report.bytesFetched) = (all, done, fetched)
    report.isTotalFinal = true
    return report
  }

  @Test func theRateIsOfTheLastSecondsAndWhatWasThereIsNone() {
    var text = ProgressText()
    // 400 MiB were there already; then 10 MiB/s, and at last 50.
    for second in 0...20 {
      text.take(report(at: Double(second), done: 400 << 20, fetched: UInt64(second) * 10 << 20))
    }
    for second in 1...6 {
      text.take(
        report(at: 20 + Double(second), done: 400 << 20, fetched: (200 + UInt64(second) * 50) << 20)
      )
    }
    #expect(Int(text.rate) >> 20 == 50)
    let now = report(at: 26, done: 900 << 20, fetched: 500 << 20)
    #expect(text.secondsLeft(now) == 2)
    #expect(text.sentence(now).contains("400 MiB already cached, 50 MiB/s, 2 s left"))
  }

  @Test func nothingFetchedSaysNothingOfTheTimeLeft() {
    var text = ProgressText()
    let now = report(at: 3, done: 500 << 20, fetched: 0)
    text.take(now)
    #expect(text.secondsLeft(now) == nil && !text.sentence(now).contains("left"))
  }

  @Test(arguments: [20, 40, 60, 79, 80, 120]) func aLineIsNeverWiderThanTheTerminal(_ columns: Int)
  {
    var text = ProgressText()
    let now = report(at: 3, done: 630 << 20, fetched: 250 << 20)
    text.take(now)
    let line = text.line(now, columns: columns)
    #expect(line.count <= columns, "\(line)")
    if columns >= 60 {
      #expect(line.contains("63 %") && line.contains("630/2,000 files") && line.contains("s left"))
      #expect(line.hasPrefix("["))
    }
    if columns == 120 { #expect(line.contains("380 MiB already cached")) }
  }

  @Test func aLogGetsALineEachTenSeconds() {
    var log = ProgressLog()
    let due = (0...350).map { log.isDue(report(at: Double($0) / 10, done: 0, fetched: 0)) }
    #expect(due.indices.filter { due[$0] } == [100, 200, 300])
    var ended = report(at: 60, done: 0, fetched: 0)
    ended.state = .done
    let isDue = log.isDue(ended)
    #expect(!isDue)
  }
}
