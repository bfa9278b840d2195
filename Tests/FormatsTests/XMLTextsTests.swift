import Formats
import Testing

@Suite struct XMLTextsTests {
  private func texts(_ text: String) -> XMLTexts { XMLTexts(Array(text.utf8)) }

  @Test func theFirstElementOfANameCountsHoweverDeep() {
    let found = texts(
      """
      <?xml version="1.0"?>
      <R xmlns="https://sts.amazonaws.com/doc/"><A><Key> one&amp;&quot;two </Key></A><Key>2</Key><E/></R>
      """)
    #expect(found["Key"] == "one&\"two")
    #expect(found["E"] == nil && found["R"] == nil && found["None"] == nil)
  }

  @Test func whatCameBeforeABreakCounts() {
    #expect(texts("<R><A>1</A><B>2</")["A"] == "1")
    #expect(texts("<R><A>1</A><B>2</")["B"] == nil)
    #expect(texts("")["A"] == nil && texts("no XML")["A"] == nil)
  }
}
