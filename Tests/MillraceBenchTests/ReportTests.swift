import Testing

@testable import MillraceBench

/// The pure parts of the benchmark: what is drawn, counted and compared.
struct ReportTests {
  private func results(_ values: [(SystemKind, [Double])], bound: Double? = nil) -> (
    Results, Measure
  ) {
    var results = Results(
      conditions: Conditions(repeats: 3, versions: [("kernel", "6 \"x\"")]))
    let measure = Measure.rate("a file")
    for (kind, list) in values {
      for value in list { results.add(measure, kind, value, Usage(cpuSeconds: 1)) }
    }
    if let bound { results.bound(measure, "raw", bound) }
    return (results, measure)
  }

  @Test func mediansAreTheMiddle() {
    #expect(median([]) == nil)
    #expect(median([3]) == 3)
    #expect(median([5, 1, 3]) == 3)
    #expect(median([4, 1, 3, 2]) == 2.5)
  }

  @Test func ratiosAreToTheBoundElseToThePlainFolder() {
    let (plain, measure) = results([(.plain, [100, 110, 90]), (.millrace, [50, 60, 40])])
    #expect(plain.ratio(measure, .millrace) == 0.5)
    #expect(plain.ratio(measure, .s3fs) == nil)
    let (bound, same) = results([(.plain, [100]), (.millrace, [50])], bound: 200)
    #expect(bound.ratio(same, .millrace) == 0.25)
  }

  @Test func theTableHasAColumnForEachThatWasMeasured() {
    let (results, _) = results([(.plain, [100]), (.millrace, [50, 70])], bound: 200)
    let table = Report.markdown(results)
    #expect(table.hasPrefix("| | bound | plain directory | millrace |\n"))
    #expect(
      table.contains("| a file, MB/s | 200 (raw) | 100, x 0.50 | 60.0 (50.0 to 70.0), x 0.30 |"))
    #expect(!table.contains("rclone"))
    #expect(Report.json(results).contains("\"kernel\": \"6 \\\"x\\\"\""))
    #expect(Plot.svg(results).contains(">0.30</text>"))
  }

  @Test func scatteredPlacesAreTheSameForReaderAndCounter() {
    for size in [4096, 128 << 10] {
      let first = Scatter.places(reader: 1, count: 50, size: size, of: 1 << 30)
      #expect(first == Scatter.places(reader: 1, count: 50, size: size, of: 1 << 30))
      #expect(first != Scatter.places(reader: 2, count: 50, size: size, of: 1 << 30))
      for place in first {
        #expect(place + size <= 1 << 30)
        #expect(size == 4096 ? place % 4096 == 0 : place % 2 == 1)
      }
    }
    // A read that lies on no boundary touches two pieces.
    #expect(
      Scatter.touched(readers: 1, count: 1, size: 128 << 10, of: 1 << 30) == 2 * (128 << 10))
  }
}

struct PictureTests {
  @Test func thePictureHasABarForEachSystemThatWasMeasured() {
    var small = Results(conditions: Conditions(repeats: 1, versions: []))
    let measure = Measure(name: "2000 files, from disk", unit: "files/s")
    for (kind, value) in [(SystemKind.plain, 9250.0), (.millrace, 6146), (.rclone, 1022)] {
      small.add(measure, kind, value, Usage())
    }
    let training = TrainingResults(
      conditions: Conditions(repeats: 1, versions: []), isCaged: false)
    let picture = Picture(
      training: training, small: small,
      names: [(.millrace, 1_000_000, 0.87), (.rclone, 20_000, 2.36)])
    #expect(picture.panels.map(\.bars.count) == [3, 2])
    #expect(picture.panels[0].bars.map(\.text) == ["9,250", "6,146", "1,022"])
    #expect(picture.panels[1].bars[0].text == "1,149,425 (0.87 s)")
    #expect(picture.panels[1].bars.map(\.name) == ["Millrace, 1M", "rclone, 20k"])
    #expect(picture.panels[1].bars[1].text == "8,474 (2.36 s)")
    let svg = picture.svg
    #expect(svg.components(of: "<rect") == 5)
    #expect(svg.contains("width=\"200\"") && svg.contains("width=\"22\""))
    #expect(picture.markdown.hasPrefix("- Small files from the disk cache, files/s: local disk"))
  }
}

extension String {
  fileprivate func components(of word: String) -> Int { ranges(of: word).count }
}
