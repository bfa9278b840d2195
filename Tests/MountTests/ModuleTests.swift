import TestSupport
import Testing

extension MountTests {
  /// The Python module, from the sources, with the program that was built: Tests/Packages has the checks, which
  /// `make test-packages` runs with the installed wheel.
  @Suite struct PythonModule {
    private func mount(_ scratch: TemporaryFolder) throws -> MountedMillrace {
      for name in ["a/1", "a/2", "b/3", "b/4"] {
        try scratch.file("data/train/" + name, [UInt8](repeating: 7, count: 3_000_000))
      }
      return try MountedMillrace(
        "file://" + scratch.path("data"), cache: scratch.folder("cache"),
        options: ["--prefetch", "off"])
    }

    private func python(_ name: String, _ mount: MountedMillrace, _ scratch: TemporaryFolder) throws
      -> CommandResult
    {
      // The module finds the program by PATH where it does not bring one.
      try CommandResult.check(["mkdir", scratch.path("bin")])
      try CommandResult.check(["ln", "-s", try Checkout.millrace(), scratch.path("bin/millrace")])
      return try CommandResult.run(
        [Checkout.systemPython, "-B", "\(Checkout.root)/Tests/Packages/\(name)", mount.path],
        environment: [
          "PYTHONPATH": "\(Checkout.root)/Sources/PythonModule",
          "PATH": scratch.path("bin") + ":" + (environmentVariable("PATH") ?? "/usr/bin"),
        ], within: .seconds(180))
    }

    @Test func statisticsJobsAndOrdersAreThoseOfTheMount() throws {
      let scratch = try TemporaryFolder("module")
      let mount = try mount(scratch)
      let result = try python("module.py", mount, scratch)
      #expect(result.succeeded && result.output.contains("module: right"), "\(result)")
      try mount.unmount()
    }

    @Test(.enabled(if: requireOrSkip(.torch)))
    func itsSamplersGiveTheOrderOfEachEpoch() throws {
      let scratch = try TemporaryFolder("module")
      let mount = try mount(scratch)
      let result = try python("samplers.py", mount, scratch)
      #expect(result.succeeded && result.output.contains("samplers: right"), "\(result)")
      try mount.unmount()
    }
  }
}
