import Posix
import TestSupport
import Testing

@testable import Credentials

@Suite struct ProfileFileTests {
  @Test func readsSectionsCommentsNestedBlocksAndQuotedNames() throws {
    let file = try ProfileFile(
      """
      # a comment
      [default]
      region = eu-west-1
      ; another
      S3 =
        addressing_style = path
        # not a setting
        max_queue = 10

      aws_access_key_id : AKID # kept, as botocore keeps it
      [profile "two words"]
      region=x
      [services mine]
      s3 =
          endpoint_url = http://a=b
      """)
    #expect(file.profile("default")?.text("region") == "eu-west-1")
    #expect(
      file.profile("default")?.nested("s3") == ["addressing_style": "path", "max_queue": "10"])
    #expect(
      file.profile("default")?.text("aws_access_key_id") == "AKID # kept, as botocore keeps it")
    #expect(file.profile("two words")?.text("region") == "x")
    #expect(file.named("services", "mine")?.nested("s3")?["endpoint_url"] == "http://a=b")
    #expect(file.profile("mine") == nil)
  }

  @Test func readsWindowsLineEndsAndByteOrderMarks() throws {
    let file = try ProfileFile("\u{FEFF}[default]\r\nregion = a\r\n")
    #expect(file.profile("default")?.text("region") == "a")
  }

  @Test(arguments: [("a = b", 1), ("[x]\nnonsense", 2), ("[]\n", 1), ("[x\n", 1)])
  func saysTheLineOfAMistake(text: String, line: Int) {
    #expect(throws: ProfileFile.SyntaxError.self) { try ProfileFile(text) }
    do throws(ProfileFile.SyntaxError) { _ = try ProfileFile(text) } catch {
      #expect(error.line == line)
    }
  }

  @Test func survivesGarbage() {
    let pieces = [
      "[", "]", "profile ", "\"", "=", ":", "\n", "\n  ", "#", "s3 =", "x", "\\", "é", "\r",
      "\u{0}",
    ]
    for seed in 0..<5_000 as Range<UInt64> {
      var generator = SeededGenerator(seed: seed)
      let text = (0..<Int.random(in: 0...40, using: &generator)).map { _ in
        pieces.randomElement(using: &generator)!
      }.joined()
      let file = try? ProfileFile(text)
      _ = file?.profile("x")
      _ = file?.profileNames
    }
  }
}
