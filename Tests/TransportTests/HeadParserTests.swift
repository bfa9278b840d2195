import Posix
import Testing

@testable import Transport

@Suite struct HeadParserTests {
  private func parse(_ lines: [String]) -> (HTTPResponseHead?, failed: Bool) {
    var parser = HeadParser()
    for line in lines {
      let step = Array((line + "\r\n").utf8).withUnsafeBytes { parser.append($0) }
      switch step {
      case .incomplete: continue
      case .complete(let head): return (head, false)
      case .tooLarge, .malformed: return (nil, true)
      }
    }
    return (nil, false)
  }

  @Test func namesAreLowerCaseAndValuesTrimmedInOrderOfArrival() throws {
    let head = try #require(
      parse(["HTTP/1.1 206 Partial Content", "ETag:  \"a b\" \t", "X-A:1", "x-a: 2", "Empty:", ""])
        .0)
    #expect(head.status == 206)
    #expect(head.headers.map(\.name) == ["etag", "x-a", "x-a", "empty"])
    #expect(head["etag"] == "\"a b\"" && head["x-a"] == "1" && head["empty"] == "")
  }

  @Test func informationalHeadsAreDropped() throws {
    let lines = [
      "HTTP/1.1 100 Continue", "", "HTTP/1.1 103 Early Hints", "Link: x", "", "HTTP/1.1 200 OK",
      "A: b", "",
    ]
    let head = try #require(parse(lines).0)
    #expect(head.status == 200 && head.headers.count == 1)
  }

  @Test func foldedLinesAreJoined() throws {
    let head = try #require(parse(["HTTP/1.0 200", "A: b", " c", ""]).0)
    #expect(head["a"] == "b c")
  }

  @Test func headersWithoutEndAreRefused() {
    let long = String(repeating: "v", count: 1000)
    #expect(parse(["HTTP/1.1 200 OK"] + (0..<300).map { "h\($0): \(long)" }).failed)
    let hints = (0..<30_000).flatMap { _ in ["HTTP/1.1 100 Continue", ""] }
    #expect(parse(hints).failed)
  }

  @Test func whatIsNotAStatusLineIsRefused() {
    for line in ["ICY 200 OK", "HTTP/1.1", "HTTP/1.1 2x0 OK", "HTTP/1.1 20", "HTTP/1.1 099 No", ""]
    {
      #expect(parse([line, ""]).failed, "\(line)")
    }
  }

  @Test func randomLinesNeverTrap() {
    for seed in 0..<3000 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      var parser = HeadParser()
      let letters = Array("HTTP/1.1 200: \t\r\nab\u{0}".utf8) + [0xff, 0x80]
      for _ in 0..<20 {
        let line = (0..<Int.random(in: 1..<30, using: &random)).map { _ in
          letters.randomElement(using: &random)!
        }
        _ = line.withUnsafeBytes { parser.append($0) }
      }
    }
  }
}
