import Posix
import Testing

@Suite struct SaturatingTests {
  @Test func sumsStopAtTheEndsOfTheirRange() {
    #expect(UInt64.max.addingSaturated(1) == .max)
    #expect(UInt64(7).addingSaturated(8) == 15)
    #expect(UInt64(7).subtractingSaturated(8) == 0)
    #expect(Int64.min.addingSaturated(-1) == .min)
    #expect(Int64.max.subtractingSaturated(-1) == .max)
    #expect(Int64.min.subtractingSaturated(1) == .min)
    #expect((UInt64(1) << 53).multipliedSaturated(by: 1 << 20) == .max)
    #expect(Int.max.multipliedSaturated(by: -2) == .min)
    #expect(Int.min.multipliedSaturated(by: -2) == .max)
  }

  @Test func aDoubleOfAnySizeIsAnInteger() {
    #expect(Int(saturating: .nan) == 0)
    #expect(Int(saturating: .infinity) == .max)
    #expect(Int(saturating: -.infinity) == .min)
    #expect(UInt64(saturating: -1) == 0)
    #expect(UInt64(saturating: 1e30) == .max)
    #expect(Int(saturating: 99.9) == 99)
  }
}
