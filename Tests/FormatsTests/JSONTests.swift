import Formats
import Testing

@Suite struct JSONTests {
  @Test func jsonIsReadStrictly() throws {
    let text = #"{"a": "x\u00e9\n\ud83d\ude00", "b": [1, 2.5e3, null, true], "c": {"d": {}}}"#
    let value = try JSONValue(Array(text.utf8))
    #expect(value.text("a") == "xé\n😀")
    #expect(try JSONValue(Array(value.json.utf8)) == value)
    for bad in [
      "", "{", "{\"a\"}", "[1,]", "{\"a\":1,}", "\"\u{1}\"", "\"\\ud800x\"", "tru", "1 2", "{]",
      "\"\\x\"", String(repeating: "[", count: 100_000),
    ] {
      #expect(throws: JSONReader.Malformed.self, "\(bad.prefix(20))") {
        try JSONValue(Array(bad.utf8))
      }
    }
  }

  @Test func loneSurrogatesAreReplaced() throws {
    var reader = JSONReader(Array(#"{"a":"\ud800x\udc00\ud800\ud800"}"#.utf8))
    #expect(try reader.readObject().first?.value.text == "\u{FFFD}x\u{FFFD}\u{FFFD}")
  }

  @Test func aStringIsWrittenAsItIsRead() throws {
    let bytes: [UInt8] = [0, 10, 31, 34, 92, 127, 0xFF, 65]
    let text = Array("{\"a\":".utf8) + JSONValue.quoted(bytes) + Array("}".utf8)
    var reader = JSONReader(text)
    #expect(try reader.readObject().first?.value.bytes == bytes)
  }

  /// What a listing's reader forgives.
  @Test(arguments: [#"{"a": "\ud800"}"#, "{\"a\": \"\u{1}\"}", #"{"a": 1-2}"#])
  func documentsAreReadMoreStrictlyThanListings(text: String) throws {
    var reader = JSONReader(Array(text.utf8))
    #expect(try reader.readObject().count == 1)
    #expect(throws: JSONReader.Malformed.self) { try JSONValue(Array(text.utf8)) }
  }
}
