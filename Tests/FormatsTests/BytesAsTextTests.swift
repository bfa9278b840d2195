import Formats
import Testing

/// Base64 and hexadecimal digits.
@Suite struct BytesAsTextTests {
  @Test func base64GoesThereAndBack() {
    for count in 0..<70 {
      let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 * 37) }
      #expect(count == 0 || Base64.decode(Base64.encode(bytes)) == bytes)
    }
  }

  /// Foundation takes the first three.
  @Test(arguments: ["", "AA=A", "QUJD====", "A===", "=A==", "QQ=", "QQ", "Q Q=", "QQ==\n", "+/-_"])
  func whatIsNoBase64IsRefused(text: String) { #expect(Base64.decode(text) == nil) }

  @Test func hexGoesThereAndBack() {
    let bytes = (0...255).map { UInt8($0) }
    #expect(Hex.decode(Hex.encode(bytes).utf8) == bytes)
    #expect(Hex.decode("aAfF09".utf8) == [0xAA, 0xFF, 9])
    #expect(Hex.encode(UInt32(0xBEEF)) == "0000beef")
    for bad in ["a", "0g", "é0", "+1"] { #expect(Hex.decode(bad.utf8) == nil, "\(bad)") }
  }
}
