import Testing

@testable import MillraceBench

/// The table of names: seconds and requests beside each other.
struct NamesReportTests {
  private let measure = Measure(name: "find", unit: "s", isWait: true)

  private func results() -> Results {
    Results(conditions: Conditions(repeats: 3, versions: [("kernel", "6")]))
  }

  @Test func aCellHasSecondsSpreadRatioAndRequests() {
    var results = results()
    for (seconds, requests) in [(0.5, 100), (0.25, 1001), (12, 5000)] {
      results.add(measure, .millrace, seconds, Usage(requests: requests))
    }
    results.bound(measure, "32 at once, 101 req", 0.25)
    let table = NamesReport.markdown(results)
    #expect(table.hasPrefix("| | bare listing | millrace |\n"))
    #expect(
      table.contains(
        "| find, s | 0.25 (32 at once, 101 req) | 0.500 (0.250 to 12.00), x 2.00, 1,001 req |"))
  }

  @Test func millisecondsAreWritten() {
    for (value, text) in [(0.0, "0.000"), (0.0204, "0.020"), (0.9994, "0.999"), (1, "1.00")] {
      var results = results()
      results.add(measure, .plain, value, Usage())
      #expect(NamesReport.markdown(results).contains("| find, s |  | \(text) |"), "\(value)")
    }
  }

  @Test func bytesAnObjectAreNoTimesAndHaveNoRatio() {
    var results = results()
    let bytes = Measure(name: "memory", unit: "B", isWait: true)
    results.add(bytes, .plain, 10, Usage())
    results.add(bytes, .millrace, 159.6, Usage(requests: 7), note: "27 to 180 MiB")
    #expect(
      NamesReport.markdown(results).contains(
        "| memory, B |  | 10 | 160, 7 req, 27 to 180 MiB |"))
  }

  @Test func countsAreGroupedByThousands() {
    let texts = [
      (0, "0"), (7, "7"), (100, "100"), (1000, "1,000"), (123_456, "123,456"),
      (5_000_000, "5,000,000"),
    ]
    for (number, text) in texts { #expect(grouped(number) == text) }
    #expect(NamesSizes().millions.description == "5,000,000 files in 5,000 directories")
    #expect(NamesSizes().flat.option == "flat=0,100000,40")
  }
}
