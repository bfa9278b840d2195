import Testing

@testable import MillraceBench

@Suite struct ProgressCellTests {
  @Test func theCellsCoverEachPairOfValuesWithFewOfThem() {
    let wanted = Set(ProgressCell.all.flatMap(\.pairs))
    #expect(Set(ProgressCell.covering.flatMap(\.pairs)) == wanted)
    // Four ratios by four sizes is the least.
    #expect((16...20).contains(ProgressCell.covering.count), "\(ProgressCell.covering.count)")
  }

  @Test func theLeastIsTheDataOnceAndThenWhatDoesNotFit() {
    let half = ProgressCell(ratio: 2, shape: 1, memory: 0, order: .none)
    #expect(half.least(epochs: 2) == half.data + half.data / 2)
    let whole = ProgressCell(ratio: 3, shape: 1, memory: 0, order: .none)
    #expect(whole.least(epochs: 5) == whole.data)
  }

  @Test func aCellIsBadWhereItFetchesMoreOrIsSlower() {
    let cell = ProgressCell(ratio: 3, shape: 0, memory: 0, order: .two)
    func result(fetched: Double, seconds: Double) -> ProgressResult {
      let bytes = Int(Double(cell.data) * fetched)
      return ProgressResult(
        cell: cell, with: [.init(seconds: seconds, fetched: bytes, longestRead: 0)],
        without: [.init(seconds: 10, fetched: bytes, longestRead: 0)])
    }
    #expect(result(fetched: 1.04, seconds: 10.4).isGood)
    #expect(!result(fetched: 1.06, seconds: 10.4).isGood)
    #expect(!result(fetched: 1.04, seconds: 10.6).isGood)
  }
}
