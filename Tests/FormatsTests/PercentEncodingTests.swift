import Formats
import Posix
import TestSupport
import Testing

@Suite struct PercentEncodingTests {
  @Test func percentEncodingRoundTrips() {
    var random = SeededGenerator(seed: 1)
    for _ in 0..<2_000 {
      let bytes = random.bytes(upTo: 40)
      #expect(PercentEncoding.decode(PercentEncoding.encode(bytes, keepsSlash: true).utf8) == bytes)
    }
  }

  @Test func formsAreDecodedAsFarAsTheyAreEncoded() {
    func decoded(_ text: String, plusIsSpace: Bool = true) -> String {
      String(
        decoding: PercentEncoding.decodeForm(text.utf8, plusIsSpace: plusIsSpace), as: UTF8.self)
    }
    #expect(decoded("a+b%41%2f%zz%4") == "a bA/%zz%4")
    #expect(decoded("a+b%41", plusIsSpace: false) == "a+bA")
    #expect(PercentEncoding.decode("%4".utf8) == nil && PercentEncoding.decode("%zz".utf8) == nil)
    #expect(PercentEncoding.encode("a/ü~".utf8) == "a%2F%C3%BC~")
  }
}
