import ObjectStore
import Posix
import Testing

@testable import ReadEngine

/// Records of the cache whose bytes were changed: read as none, or as one that could have been written.
@Suite struct StatedRecordTests {
  @Test func aRecordWhoseBytesWereChangedIsNoneOrAPossibleOne() {
    let whole = SmallRecord(stamp: 7, size: 300_000, checksums: [1, 2, 3]).encoded
    for seed in 0..<20_000 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      var bytes = whole
      for _ in 0..<Int.random(in: 1...8, using: &random) {
        bytes[Int.random(in: 4..<bytes.count, using: &random)] =
          [0, 0x7f, 0x80, 0xff, .random(in: 0...255, using: &random)].randomElement(using: &random)!
      }
      guard let record = bytes.withUnsafeBytes({ SmallRecord($0) }) else { continue }
      #expect(record.size <= Geometry.smallObjectLimit, "seed \(seed)")
      #expect(record.checksums.count == Geometry.pieceCount(ofSize: record.size), "seed \(seed)")
    }
    let sizes: [UInt64] = [.max, .max - 131_071, 1 << 63, 1 << 57, 1 << 53 + 1]
    for size in sizes {
      let bytes = SmallRecord(stamp: 7, size: size, checksums: []).encoded
      #expect(bytes.withUnsafeBytes { SmallRecord($0) } == nil)
      #expect(Geometry.pieceCount(ofSize: size) > 0)
    }
  }

  @Test func aStateOfImpossibleNumbersIsNoneAndTheLastGenerationHasANext() {
    let text = FolderState(boot: "b", isClean: true, 5, 5).text
    #expect(FolderState(text: text)?.generation == 5)
    for number in ["4294967296", "18446744073709551616", "-1", "0", "4", ""] {
      let state = FolderState(
        text: text.replacing("generation 5", with: "generation \(number)"))
      #expect(state == nil, "\(number)")
    }
    let last = FolderState(boot: "b", isClean: true, .max, 5)
    let next = FolderState(after: last, boot: "b", now: 1000, store: "s")
    #expect(next.trusted == 1000...1000)
  }

  @Test func piecesPastTheEndHaveNoBytes() {
    #expect(Geometry.length(ofPiece: 3, size: 131_072) == 0)
    #expect(Geometry.length(ofPiece: 1 << 36 - 1, size: ObjectSize.limit) == Geometry.pieceSize)
  }

  @Test func whatReadersOpenedIsCountedToTheLargestNumber() {
    var meter = ReuseMeter()
    for hash in 0..<20_000 as Range<UInt64> {
      meter.opened(hash &* 0x9e37_79b9_7f4a_7c15, bytes: ObjectSize.limit)
    }
    #expect(meter.workingSet.bytes == .max)
    #expect(meter.workingSet.files > 0)
  }
}
