import TestSupport
import Testing

/// What the fuzzer found worth keeping goes through every parser, in each run of the tests.
struct CorpusTests {
  @Test func theCorpusIsReadWithoutATrap() throws {
    let folder = Checkout.root + "/Tests/Fuzz/corpus"
    for parser in Parsers.all {
      let names = try CommandResult.check(["ls", "\(folder)/\(parser.name)"]).output
        .split(separator: "\n")
      #expect(!names.isEmpty, "\(parser.name) has no corpus")
      for name in names {
        parser.run(try readFile("\(folder)/\(parser.name)/\(name)"))
      }
    }
  }
}
