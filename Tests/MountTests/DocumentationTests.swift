import LinkServer
import TestSupport
import Testing

extension MountTests {
  @Suite struct Documentation {
    /// Tests/Tools/documented.py says what is replaced. As root, since `--allow-other` is among it.
    @Test(.enabled(if: requireOrSkip(.root)))
    func everyCommandOfTheDocumentationRunsAsPrinted() throws {
      let scratch = try TemporaryFolder("documented")
      let tool = [Checkout.systemPython, "-B", Checkout.root + "/Tests/Tools/documented.py"]
      try CommandResult.check(tool + ["make", scratch.path("buckets")], within: .seconds(60))
      let server = try LinkServer(folder: scratch.path("buckets"), link: .loopback)
      defer { server.stop() }
      let result = try CommandResult.run(
        tool + ["run", Checkout.millrace(), "http://127.0.0.1:\(server.port)"],
        within: .seconds(600))
      #expect(result.succeeded, "\(result)")
    }
  }
}
